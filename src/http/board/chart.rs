//! A chart is drawn here as SVG, whose colours are the page's, with its numbers as a table beside it for readers who cannot see it.
//!
//! The library draws in colours that stand for classes; they are exchanged for these afterwards, because the colours of a page are
//! those of its reader's mode, and a page may hold no styles of its own.

use super::parts::count;
use maud::{Markup, PreEscaped, html};
use plotters::coord::types::{RangedCoordf64, RangedCoordi64};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// In units of the drawing, which is as wide as its place on the page.
const WIDTH: u32 = 680;
const HEIGHT: u32 = 250;
const TEXT: i32 = 16;

// What stands for a class until it is exchanged.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const AXIS: RGBColor = RGBColor(3, 3, 3);
const SERIES: [RGBColor; 2] = [RGBColor(11, 0, 0), RGBColor(12, 0, 0)];

/// The second line is broken, so that it is told from the first one without colour.
const CLASSES: [(&str, &str); 10] = [
    ("fill=\"#010101\"", "fill=\"currentColor\""),
    ("stroke=\"#020202\"", "class=\"grid\""),
    ("stroke=\"#030303\"", "class=\"axis\""),
    ("stroke=\"#0B0000\"", "class=\"series-1\""),
    ("stroke=\"#0C0000\"", "class=\"series-2\" stroke-dasharray=\"7 4\""),
    ("fill=\"#0B0000\"", "class=\"series-1 bar\""),
    ("fill=\"#0C0000\"", "class=\"series-2 bar\""),
    (" font-family=\"sans-serif\"", ""),
    (" opacity=\"1\"", ""),
    ("\n", ""),
];

/// What a chart is called and tells.
pub(super) struct About<'a> {
    /// Its id on the page.
    pub(super) id: &'a str,
    /// Its name.
    pub(super) title: &'a str,
    /// What it shows, in a sentence.
    pub(super) tells: &'a str,
    /// What its labels are.
    pub(super) of: &'a str,
}

/// Numbers under their name.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) values: &'a [i64],
}

/// Lines over the same labels, of which some are shown below.
pub(super) fn lines(about: &About<'_>, labels: &[String], series: &[Series<'_>]) -> Markup {
    figure(about, labels, series, draw_lines(labels, series))
}

/// A bar for each label.
pub(super) fn bars(about: &About<'_>, labels: &[String], series: &Series<'_>) -> Markup {
    figure(about, labels, std::slice::from_ref(series), draw_bars(labels, series))
}

fn figure(about: &About<'_>, labels: &[String], series: &[Series<'_>], drawing: Option<String>) -> Markup {
    let (title, tells) = (format!("{}-title", about.id), format!("{}-tells", about.id));
    html! {
        figure.chart {
            @if let Some(drawing) = drawing {
                svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby={ (title) " " (tells) } {
                    title id=(title) { (about.title) }
                    desc id=(tells) { (about.tells) }
                    (PreEscaped(drawing))
                }
            }
            figcaption.quiet { (about.tells) }
        }
        details {
            summary { "The numbers of this chart" }
            div.scroll tabindex="0" role="region" aria-label={ (about.title) ", as a table" } {
                table.data {
                    caption.hidden { (about.title) }
                    thead { tr { th scope="col" { (about.of) } @for one in series { th.number scope="col" { (one.name) } } } }
                    tbody {
                        @for (n, label) in labels.iter().enumerate() {
                            tr {
                                th scope="row" { (label) }
                                @for one in series { td.number { (count(one.values.get(n).copied().unwrap_or_default())) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn font() -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&INK)
}

type Area<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordi64>>;

/// An empty chart with its grid and the labels on its left.
fn area<'a, 'b>(
    root: &'a DrawingArea<SVGBackend<'b>, plotters::coord::Shift>,
    width: usize,
    most: i64,
) -> Option<Area<'a, 'b>>
where
    'b: 'a,
{
    let left = (count(most).len() as u32 + 2) * 8;
    // A little above the highest one, and never nothing at all.
    let top = (most + most / 12).max(4);
    let mut chart = ChartBuilder::on(root)
        .margin_top(30)
        .margin_right(12)
        .x_label_area_size(28)
        .y_label_area_size(left)
        .build_cartesian_2d(0.0..place(width.max(1)), 0..top)
        .ok()?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_labels(5)
        .y_label_formatter(&|n| count(*n))
        .axis_style(AXIS)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(font())
        .draw()
        .ok()?;
    Some(chart)
}

/// Where the `n`th value stands on the axis; a chart has dozens of them.
fn place(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn draw_lines(labels: &[String], series: &[Series<'_>]) -> Option<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        let most = series.iter().flat_map(|one| one.values.iter().copied()).max().unwrap_or_default();
        let width = labels.len().saturating_sub(1);
        let mut chart = area(&root, width, most)?;
        for (one, colour) in series.iter().zip(SERIES) {
            let points = one.values.iter().enumerate().map(|(n, value)| (place(n), *value));
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).ok()?;
        }
        for n in (0..labels.len()).step_by(7) {
            let style = font().pos(Pos::new(if n == 0 { HPos::Left } else { HPos::Center }, VPos::Top));
            let label = EmptyElement::at((place(n), 0)) + Text::new(labels[n].clone(), (0, 9), style);
            chart.draw_series(std::iter::once(label)).ok()?;
        }
        let mut x = 70;
        for (one, colour) in series.iter().zip(SERIES) {
            root.draw(&PathElement::new(vec![(x, 13), (x + 28, 13)], colour.stroke_width(2))).ok()?;
            let style = font().pos(Pos::new(HPos::Left, VPos::Center));
            root.draw(&Text::new(one.name.to_owned(), (x + 36, 13), style)).ok()?;
            x += 60 + one.name.len() as i32 * 8;
        }
        root.present().ok()?;
    }
    classed(&text)
}

fn draw_bars(labels: &[String], series: &Series<'_>) -> Option<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        let most = series.values.iter().copied().max().unwrap_or_default();
        let mut chart = area(&root, labels.len(), most)?;
        for (n, (label, value)) in labels.iter().zip(series.values).enumerate() {
            let (left, right) = (place(n) + 0.12, place(n) + 0.88);
            let bar = Rectangle::new([(left, 0), (right, *value)], SERIES[0].filled());
            chart.draw_series(std::iter::once(bar)).ok()?;
            let style = |pos| font().pos(Pos::new(HPos::Center, pos));
            let middle = place(n) + 0.5;
            let under = EmptyElement::at((middle, 0)) + Text::new(label.clone(), (0, 9), style(VPos::Top));
            chart.draw_series(std::iter::once(under)).ok()?;
            let over = EmptyElement::at((middle, *value)) + Text::new(count(*value), (0, -5), style(VPos::Bottom));
            chart.draw_series(std::iter::once(over)).ok()?;
        }
        root.present().ok()?;
    }
    classed(&text)
}

/// What was drawn, without its frame, in classes.
fn classed(text: &str) -> Option<String> {
    let (_, inner) = text.split_once("<svg")?.1.split_once('>')?;
    let inner = inner.rsplit_once("</svg>")?.0;
    Some(CLASSES.iter().fold(inner.to_owned(), |text, (colour, class)| text.replace(colour, class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'static> = About { id: "c", title: "Title", tells: "What it tells.", of: "Day" };

    #[test]
    fn a_chart_has_no_colour_and_no_style_of_its_own() {
        let labels: Vec<String> = (1..=31).map(|n| format!("{n} Dec")).collect();
        let values: Vec<i64> = (0..31).map(|n| 100_000 - n * 2_000).collect();
        let series = [Series { name: "by due date", values: &values }, Series { name: "as foreseen", values: &values }];
        for page in [lines(&ABOUT, &labels, &series), bars(&ABOUT, &labels[..8], &series[0])] {
            let page = page.into_string();
            assert!(!page.contains("#0") && !page.contains("style=") && !page.contains("http"), "{page}");
            assert!(page.contains("class=\"grid\"") && page.contains("series-1"), "{page}");
            assert!(page.contains("role=\"img\"") && page.contains("aria-labelledby=\"c-title c-tells\""), "{page}");
            assert!(page.contains("<td class=\"number\">100,000</td>"), "{page}");
        }
    }

    #[test]
    fn nothing_to_show_is_a_chart_all_the_same_and_what_is_named_is_escaped() {
        let labels = ["<b>".to_owned(), "&".to_owned()];
        let page = bars(&ABOUT, &labels, &Series { name: "n", values: &[0, 0] }).into_string();
        assert!(page.contains("<svg") && page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
        let page = lines(&ABOUT, &[], &[Series { name: "n", values: &[] }]).into_string();
        assert!(page.contains("<svg"), "{page}");
    }
}
