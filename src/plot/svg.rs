//! What all pictures share: the colours of the light and the dark mode, and the frame of the document.

/// Colours of the light mode, by what they are for. They stand in a picture as they do here, in capitals, and
/// [`document`] replaces them where the reader prefers a dark page.
pub const PAGE: &str = "#FFFFFF";
pub const INK: &str = "#1F2933";
pub const FAINT: &str = "#5D6874";
pub const GRID: &str = "#E4E8EC";
pub const LINE: &str = "#2F7D6B";
pub const LIMIT: &str = "#C2342B";
pub const FORCED: &str = "#16324F";
pub const COMPUTED: &str = "#2F78B0";
pub const SKIPPED: &str = "#F6C667";
/// Letters on the three colours of decisions.
pub const ON_FORCED: &str = "#FEFFFF";
pub const ON_COMPUTED: &str = "#FFFEFF";
pub const ON_SKIPPED: &str = "#5C4308";
/// For series: at least 3:1 against the page, and apart from each other in normal sight and in simulated protanopia,
/// deuteranopia and tritanopia.
pub const SERIES: [&str; 8] =
    ["#1F2933", "#114DB2", "#FA3C18", "#01612E", "#158EF0", "#7C9C30", "#EF4484", "#732D72"];

/// Of each colour of the light mode, that of the dark one.
pub const DARK: [(&str, &str); 19] = [
    (PAGE, "#0D1117"),
    (INK, "#E6EDF3"),
    (FAINT, "#9AA5B1"),
    (GRID, "#2B323B"),
    (LINE, "#5FC2AB"),
    (LIMIT, "#FF7B72"),
    (FORCED, "#2F6DA8"),
    (COMPUTED, "#4C9BDB"),
    (SKIPPED, "#E0A93B"),
    (ON_FORCED, "#FFFFFF"),
    (ON_COMPUTED, "#0D1117"),
    (ON_SKIPPED, "#2B1F00"),
    (SERIES[1], "#6B77C0"),
    (SERIES[2], "#EE3730"),
    (SERIES[3], "#5AF3A1"),
    (SERIES[4], "#9AC7FA"),
    (SERIES[5], "#FACE57"),
    (SERIES[6], "#D2638B"),
    (SERIES[7], "#A253F6"),
];

const FONT: &str = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";

/// A whole picture of `body`, which is SVG. `scale` units of the body are one pixel.
pub fn document(title: &str, [width, height]: [f64; 2], scale: f64, body: &str) -> String {
    let rules: String = DARK
        .iter()
        .flat_map(|(light, dark)| ["fill", "stroke"].map(|paint| (paint, light, dark)))
        .filter(|(paint, light, _)| {
            [PAGE, INK].contains(light) || body.contains(&format!("{paint}=\"{light}\""))
        })
        .map(|(paint, light, dark)| format!("[{paint}=\"{light}\"]{{{paint}:{dark}}}\n"))
        .collect();
    let (title, right, bottom) = (escape(title), width * scale, height * scale);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}"
viewBox="0 0 {right:.0} {bottom:.0}" role="img" font-size="12" fill="{INK}"
font-family="{FONT}">
<title>{title}</title>
<style>@media (prefers-color-scheme: dark) {{
{rules}}}</style>
<rect width="100%" height="100%" fill="{PAGE}"/>
{body}</svg>
"#
    )
}

/// A line of text. `label` is XML.
pub fn text((x, y): (f64, f64), anchor: &str, colour: &str, label: &str) -> String {
    format!("<text x=\"{x:.2}\" y=\"{y:.2}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{label}</text>\n")
}

/// The picture's title, at most `width` wide. `scale` units are one pixel.
pub fn heading((x, y): (f64, f64), width: f64, scale: f64, title: &str) -> String {
    let size = fit(title, width / scale) * scale;
    let title = escape(title);
    format!(
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{size:.1}\" font-weight=\"600\" fill=\"{INK}\">{title}</text>\n"
    )
}

/// The width of a text of ordinary letters, generously, at a size.
pub fn width_of(text: &str, size: f64) -> f64 {
    0.6 * size * text.chars().count() as f64
}

/// The largest size, up to 17, at which a text of ordinary letters keeps to a width.
pub fn fit(text: &str, width: f64) -> f64 {
    (width / width_of(text, 1.0).max(0.6)).clamp(8.0, 17.0)
}

/// A text without control characters, which XML cannot hold: they become spaces.
pub fn plain(text: &str) -> String {
    let control = |c: char| c.is_control() || ['\u{fffe}', '\u{ffff}'].contains(&c);
    text.chars().map(|c| if control(c) { ' ' } else { c }).collect()
}

/// As XML text. Control characters become spaces.
pub fn escape(text: &str) -> String {
    plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
