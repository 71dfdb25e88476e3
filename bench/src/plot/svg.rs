//! The picture: time from left to right, how long each event took upwards, on a scale of powers of ten.

use std::fmt::Write as _;
use std::time::Duration;

/// One event.
pub(super) struct Dot {
    /// When its call began.
    pub(super) called: Duration,
    /// Until the last of its readers had it.
    pub(super) took: Duration,
}

/// Something that was done to the system.
pub(super) struct Happened {
    pub(super) at: Duration,
    pub(super) what: String,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 54.0;
/// What the lines of the scale stand for, in seconds.
const SCALE: [(f64, &str); 5] = [
    (0.001, "1 ms"),
    (0.01, "10 ms"),
    (0.1, "100 ms"),
    (1.0, "1 s"),
    (10.0, "10 s"),
];
const LOWEST: f64 = 0.001;
const HIGHEST: f64 = 20.0;

pub(super) fn draw(dots: &[Dot], happened: &[Happened], streams: usize) -> String {
    let seconds = dots.last().map_or(1.0, |dot| dot.called.as_secs_f64());
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - RIGHT);
    let y = |took: f64| {
        let share = (took.clamp(LOWEST, HIGHEST) / LOWEST).ln() / (HIGHEST / LOWEST).ln();
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <title>Delivery time of each event while parts die</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"bold\">\
         Each dot is one event: from its call until the slowest of {streams} streams has read it</text>\n"
    );
    let (base, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (took, name) in SCALE {
        let at = y(took);
        put(
            &mut svg,
            &format!(
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 8.0,
                at + 4.0
            ),
        );
    }
    let mut second = 0.0;
    while second <= seconds {
        let at = x(second);
        put(
            &mut svg,
            &format!(
                "<path d=\"M{at:.1} {base}v5\" stroke=\"#333\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second:.0}</text>",
                base + 18.0
            ),
        );
        second += 10.0;
    }
    put(
        &mut svg,
        &format!(
            "<path d=\"M{LEFT} {TOP}V{base}H{right}\" fill=\"none\" stroke=\"#333\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">seconds since the beginning, when the call was made</text>\
         <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\">time until read (logarithmic)</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 12.0,
            f64::midpoint(TOP, base)
        ),
    );
    for (number, event) in happened.iter().enumerate() {
        let at = x(event.at.as_secs_f64());
        // In two rows, so that the names of what happens shortly one after the other stand apart.
        let row = if number % 2 == 0 { 42.0 } else { 58.0 };
        let (anchor, side) = if at > WIDTH * 0.8 {
            ("end", -4.0)
        } else {
            ("start", 4.0)
        };
        put(
            &mut svg,
            &format!(
                "<path d=\"M{at:.1} {:.1}V{base}\" stroke=\"#c00\" stroke-dasharray=\"4 3\"/>\
                 <text x=\"{:.1}\" y=\"{row}\" text-anchor=\"{anchor}\" fill=\"#c00\">{}</text>",
                row - 10.0,
                at + side,
                event.what
            ),
        );
    }
    svg.push_str("<path stroke=\"#06c\" stroke-width=\"3\" stroke-linecap=\"round\" d=\"");
    for dot in dots {
        let (x, y) = (x(dot.called.as_secs_f64()), y(dot.took.as_secs_f64()));
        // A line of no length with a round end.
        let _ = write!(svg, "M{x:.1} {y:.1}h0");
    }
    svg.push_str("\"/>\n</svg>\n");
    svg
}

fn put(svg: &mut String, line: &str) {
    svg.push_str(line);
    svg.push('\n');
}
