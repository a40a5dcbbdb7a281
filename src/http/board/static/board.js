// The board reads and works without this script; with it, it is quicker by keyboard and says when something changed.
"use strict";
(() => {
  const root = document.documentElement;
  const stored = (name, value) => {
    try {
      return value === undefined ? localStorage.getItem(name) : localStorage.setItem(name, value);
    } catch {
      return null; // Storage is switched off: the system's theme holds.
    }
  };
  const paint = (theme) => (theme === "light" || theme === "dark" ? root.dataset.theme = theme : delete root.dataset.theme);
  paint(stored("theme"));

  const make = (name, text, attributes = {}) => {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  const one = (what) => document.querySelector(what);

  // Keys

  const SECTIONS = { t: "/", r: "/requests", w: "/queue", s: "/systems", c: "/controllers", p: "/reports", a: "/audit", e: "/settings" };
  const section = (key) => one(`nav.sections a[href="${SECTIONS[key]}"]`);
  let gone = 0;

  const move = (by) => {
    const rows = all("tr[data-row]").filter((row) => row.offsetParent);
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.contains(document.activeElement) || row.classList.contains("at"));
    const row = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
    rows.forEach((other) => other.classList.toggle("at", other === row));
    row.querySelector("a[href]")?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };

  const help = () => {
    let dialog = one("#keys");
    if (!dialog) {
      dialog = make("dialog", "", { id: "keys", "aria-labelledby": "keys-title" });
      dialog.append(make("h2", "Keys", { id: "keys-title" }));
      const list = make("dl", "");
      const add = (keys, what) => {
        const term = make("dt", "");
        keys.split(" ").forEach((key) => term.append(make("kbd", key), " "));
        list.append(term, make("dd", what));
      };
      Object.entries({ "/": "find a request", j: "next row", k: "row before", Enter: "open the row", n: "show what is new", "?": "these keys", Esc: "close" })
        .forEach(([keys, what]) => add(keys, what));
      Object.keys(SECTIONS).forEach((key) => section(key) && add(`g ${key}`, section(key).textContent));
      const close = make("button", "Close", { type: "button" });
      close.addEventListener("click", () => dialog.close());
      dialog.append(list, close);
      document.body.append(dialog);
    }
    if (!dialog.open) dialog.showModal();
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      // A definition goes away without the focus or the pointer moving.
      all(".term:hover, .term:focus-within").forEach((term) => term.classList.add("off"));
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]")) return;
    if (event.target.closest?.("input, select, textarea, [contenteditable]")) return;
    const key = event.key;
    if (gone && Date.now() - gone < 1500 && Object.hasOwn(SECTIONS, key)) {
      if (section(key)) location.assign(section(key).href);
      gone = 0;
    } else if (key === "g") gone = Date.now();
    else if (key === "j") move(1);
    else if (key === "k") move(-1);
    else if (key === "?") help();
    else if (key === "n" && one(".news")) one(".news").click();
    else if (key === "/") one("[data-key='/']")?.focus();
    else return;
    event.preventDefault();
  });
  for (const kind of ["pointerout", "focusout"]) {
    document.addEventListener(kind, (event) => {
      const term = event.target.closest?.(".term.off");
      if (term && !term.contains(event.relatedTarget)) term.classList.remove("off");
    });
  }

  // Live

  const path = location.pathname;
  const own = path.match(/^\/requests\/(dsr_\w+)/)?.[1];
  let source, last, count = 0, timer, over = false;

  const say = (text, away) => {
    const mark = one("[data-live]");
    if (!mark) return;
    mark.hidden = false;
    mark.classList.toggle("away", away);
    const words = one("[data-live-text]");
    if (words.textContent !== text) words.textContent = text;
  };

  // The page as it is now, in place of what stands here, without a jump.
  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
    if (!answer) return;
    const next = answer.ok && !answer.redirected && new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = next && next.querySelector("main");
    if (!fresh) return location.reload();
    const main = one("main");
    const address = main.contains(document.activeElement) && document.activeElement.getAttribute("href");
    const { scrollX, scrollY } = window;
    main.replaceChildren(...fresh.childNodes);
    one(".foot time")?.replaceWith(next.querySelector(".foot time"));
    dress();
    (address && one(`main a[href="${CSS.escape(address)}"]`) || main).focus({ preventScroll: true });
    scrollTo(scrollX, scrollY);
    count = 0;
    one(".news").parentElement.remove();
  };

  const news = () => {
    if (!one(".news")) {
      const bar = make("button", "", { type: "button", class: "news" });
      bar.addEventListener("click", refresh);
      const told = make("div", "", { role: "status" });
      document.body.append(told);
      told.append(bar);
    }
    one(".news").textContent = `${count} ${count === 1 ? "change" : "changes"} · show`;
  };

  const changed = (event) => {
    last = event.lastEventId || last;
    const data = JSON.parse(event.data);
    if (own ? data.id !== own : data.id && /^\/(settings|audit)/.test(path)) return;
    count += 1;
    clearTimeout(timer);
    timer = setTimeout(news, 400);
  };

  const open = () => {
    if (source || over || document.hidden || !one("[data-live]")) return;
    source = new EventSource("/v1/stream" + (last ? `?after=${encodeURIComponent(last)}` : ""));
    source.addEventListener("ready", (event) => {
      last = event.lastEventId || last;
      say("live", false);
    });
    source.addEventListener("request", changed);
    source.addEventListener("controller", changed);
    source.addEventListener("end", () => {
      over = true;
      close();
      say("your access ended; load the page again", true);
    });
    source.addEventListener("error", () => {
      say("connection lost; trying again", true);
      // The browser tries again by itself, unless it was answered with an error.
      if (source?.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 5000);
      }
    });
  };
  const close = () => {
    source?.close();
    source = undefined;
  };

  // What only a script can add to a page.
  const dress = () => {
    all(".term").forEach((term, n) => {
      const [button, tip] = [term.querySelector("button"), term.querySelector(".tip")];
      if (button && tip) button.setAttribute("aria-describedby", (tip.id = `tip-${n}`));
    });
  };

  document.addEventListener("DOMContentLoaded", () => {
    dress();
    const foot = one("footer.foot");
    if (foot) {
      const label = make("label", "Theme ");
      const select = make("select", "");
      for (const theme of ["system", "light", "dark"]) select.append(make("option", theme, { value: theme }));
      select.value = root.dataset.theme ?? "system";
      select.addEventListener("change", () => {
        stored("theme", select.value);
        paint(select.value);
      });
      label.append(select);
      foot.append(label);
    }
    open();
    // A window that nobody looks at holds no connection; when it is looked at again it catches up.
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  });
  // Browsers that cannot show closed details by style.
  addEventListener("beforeprint", () => all("main details:not(.action)").forEach((details) => (details.open = true)));
})();
