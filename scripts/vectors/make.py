#!/usr/bin/env python3
"""Writes our own worked deadlines, tests/vectors/own_vectors.json, from two engines that share no code.

    pip install -r scripts/vectors/requirements.txt    (in a virtual environment; Python 3.11 or newer)
    python scripts/vectors/make.py                     writes the file
    python scripts/vectors/make.py --check             fails if it differs
    python scripts/vectors/make.py --mutants           fails if a wrong engine A passes

Both engines first reproduce every published vector. tests/vectors/README.md says what is covered and how.
"""

import argparse
import json
import sys
import zoneinfo

sys.dont_write_bytecode = True  # leaves nothing behind in the repository
zoneinfo.reset_tzpath(to=())  # the pinned time zones, not the machine's

import cases
import engine_a
import engine_b
import mutants
from build import ROOT, Builder, Rules, published

TARGET = ROOT / "tests" / "vectors" / "own_vectors.json"


def reproduce_published(rules):
    """Stops unless both engines give every published answer, member by member."""
    vectors = published()
    assert len(vectors) == 156
    for vector in vectors:
        wanted = vector.get("expected") or {"checks": vector["checks"]}
        for engine in (engine_a, engine_b):
            found = engine.evaluate(rules.by_id, vector)
            assert found == wanted, f"{engine.__name__}, {vector['id']}: {found}"


def render(vectors):
    head = {
        "schema_version": 1,
        "table_version": "2026-11-21.1",
        "generated_with": {
            "method": "two independent engines (A: dateutil+numpy+sets of days, B: stdlib, day by day) asserted equal "
            "on every vector and on the 156 published ones; hand-worked dates asserted where given",
            "tzdata": "2026.6",
            "numpy": "2.4.6",
        },
        "semantics": "see [conventions] in config/regulations.toml and tests/vectors/README.md; holidays are given "
        "explicitly per vector (window only)",
        "count": len(vectors),
    }
    lines = [json.dumps(head, indent=1, ensure_ascii=False)[:-2] + ',\n "vectors": [']
    lines.append(",\n".join("  " + json.dumps(vector, ensure_ascii=False) for vector in vectors))
    return "\n".join(lines) + "\n ]\n}\n"


def main():
    parser = argparse.ArgumentParser(description="Writes or checks our own deadline vectors.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file differs")
    parser.add_argument("--mutants", action="store_true", help="fail unless the vectors tell every wrong engine")
    chosen = parser.parse_args()
    rules = Rules()
    reproduce_published(rules)
    builder = Builder(rules)
    cases.every_case(builder)
    if builder.doubts:
        sys.exit("\n".join(builder.doubts))
    vectors = builder.numbered()
    unused = set(rules.by_id) - {v.get(key) for v in vectors for key in ("rule", "statutory_rule", "contract_rule")}
    assert not unused, f"rules without a vector: {sorted(unused)}"
    text = render(vectors)
    assert json.loads(text)["vectors"] == vectors
    print(f"{len(vectors)} vectors, {len(rules.by_id)} rules")
    if chosen.mutants:
        return mutants.told_apart(rules, vectors)
    if chosen.check:
        if not TARGET.exists() or TARGET.read_text() != text:
            print(f"{TARGET}: differs from what the script makes", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
