//! Bars and lines as SVG, readable on a light and on a dark page.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const ROW: f64 = 28.0;
const TOP: f64 = 36.0;
const LEFT: f64 = 120.0;
const RIGHT: f64 = 80.0;

/// A bar for each name; without a value it says that it is missing.
pub(super) fn bars(title: &str, rows: &[(&str, Option<f64>)]) -> String {
    let most = rows
        .iter()
        .filter_map(|(_, value)| *value)
        .fold(0.0, f64::max);
    let mut y = TOP;
    let mut body = String::new();
    for (name, value) in rows {
        let middle = y + 0.65 * ROW;
        let _ = writeln!(
            body,
            r#"<text x="{:.0}" y="{middle:.0}" text-anchor="end">{name}</text>"#,
            LEFT - 8.0
        );
        let length = value.map_or(0.0, |value| (WIDTH - LEFT - RIGHT) * value / most.max(1e-9));
        let colour = if *name == "Crier" {
            "#d97706"
        } else {
            "#6b7280"
        };
        let _ = writeln!(
            body,
            r#"<rect x="{LEFT:.0}" y="{:.0}" width="{length:.1}" height="{:.0}" fill="{colour}"/>"#,
            y + 4.0,
            ROW - 8.0
        );
        let said = value.map_or_else(|| "missing".to_owned(), |value| format!("{value:.1}"));
        let _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{middle:.0}">{said}</text>"#,
            LEFT + length + 6.0
        );
        y += ROW;
    }
    let height = y + 8.0;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/>
<text x="8" y="22" font-size="15">{title}</text>
{body}</svg>
"#
    )
}
