//! What all pictures share: the colours of the light and the dark mode, and the frame of the document.

use crate::plain;

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

/// As XML text, with control characters escaped: XML cannot hold them.
pub fn escape(text: &str) -> String {
    plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(hex: &str) -> [f64; 3] {
        [1, 3, 5].map(|at| {
            let c = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// Of WCAG 2.2: from 1 to 21.
    fn contrast(a: &str, b: &str) -> f64 {
        let light =
            |hex| linear(hex).iter().zip([0.2126, 0.7152, 0.0722]).map(|(c, w)| c * w).sum::<f64>() + 0.05;
        let (a, b): (f64, f64) = (light(a), light(b));
        a.max(b) / a.min(b)
    }

    fn dark(light: &str) -> &str {
        DARK.iter().find(|(known, _)| *known == light).unwrap_or_else(|| panic!("no dark {light}")).1
    }

    #[test]
    fn colours_stand_out_in_both_modes() {
        for (of, against, least) in [
            (INK, PAGE, 7.0),
            (FAINT, PAGE, 4.5),
            (LIMIT, PAGE, 4.5),
            (LINE, PAGE, 3.0),
            (FORCED, PAGE, 3.0),
            (COMPUTED, PAGE, 3.0),
            (COMPUTED, SKIPPED, 1.3),
            (FORCED, COMPUTED, 1.7),
            (ON_FORCED, FORCED, 4.5),
            (ON_COMPUTED, COMPUTED, 4.5),
            (ON_SKIPPED, SKIPPED, 4.5),
        ]
        .into_iter()
        .chain(SERIES.map(|colour| (colour, PAGE, 3.0)))
        {
            let found = [contrast(of, against), contrast(dark(of), dark(against))];
            assert!(found.iter().all(|c| *c >= least), "{of} on {against}: {found:?}, wanted {least}");
        }
    }

    /// CIE L*a*b* of a colour as somebody sees it who lacks one kind of cone, by Machado, Oliveira and Fernandes (2009),
    /// severity 1.
    fn seen(hex: &str, sight: &[[f64; 3]; 3]) -> [f64; 3] {
        let rgb = linear(hex);
        let times =
            |m: &[[f64; 3]; 3], v: [f64; 3]| m.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>());
        let [x, y, z] = times(
            &[[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]],
            times(sight, rgb).map(|c| c.clamp(0.0, 1.0)),
        )
        .map(|t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn series_are_told_apart_by_any_sight() {
        let sights = [
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
            [
                [1.255528, -0.076749, -0.178779],
                [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900],
            ],
        ];
        for sight in &sights {
            for (i, a) in SERIES.iter().enumerate() {
                for b in &SERIES[..i] {
                    for (a, b) in [(*a, *b), (dark(a), dark(b))] {
                        let (u, v) = (seen(a, sight), seen(b, sight));
                        let apart = u.iter().zip(v).map(|(u, v)| (u - v).powi(2)).sum::<f64>().sqrt();
                        assert!(apart > 15.0, "{a} and {b}: {apart:.1}");
                    }
                }
            }
        }
    }
}
