//! What the charts with two axes share: plotters draws them, in tenths of a pixel, because it counts in whole units.

use std::f64::consts::FRAC_1_SQRT_2;
use std::ops::Range;

use plotters::coord::types::RangedCoordf64;
use plotters::element::{Drawable, PointCollection};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters_backend::DrawingErrorKind;

use super::{number, svg};
use crate::plain;

/// So many units are a pixel.
pub const UNIT: f64 = 10.0;
/// Of the whole picture, in pixels.
pub const SIZE: [f64; 2] = [880.0, 500.0];
/// Where the plane of the axes ends and the legend begins, in pixels.
pub const LEGEND: f64 = 640.0;
const LEFT: f64 = 74.0;
const TOP: f64 = 52.0;
/// The radius of a dot in pixels.
pub const DOT: f64 = 2.6;
const TICKS: f64 = 11.0;
const WORDS: f64 = 12.0;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
pub type Plane<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
pub type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A picture of what `draw` draws.
pub fn picture(title: &str, draw: impl FnOnce(&Area) -> Drawn) -> String {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, (units(SIZE[0]) as u32, units(SIZE[1]) as u32));
    let area = area.into_drawing_area();
    // Writing to a string cannot fail, and neither can plotters' estimate of a text's size without its fonts.
    let _ = draw(&area).and_then(|()| area.present());
    drop(area);
    // The document's own first and last tag are ours.
    let body = text.split_once('\n').map_or("", |(_, rest)| rest).trim_end();
    let body = body.strip_suffix("</svg>").unwrap_or(body);
    let heading = svg::heading((LEFT * UNIT, 32.0 * UNIT), (SIZE[0] - LEFT) * UNIT, UNIT, title);
    svg::document(title, SIZE, UNIT, &(heading + body))
}

/// Axes with their grid, ticks and names.
pub fn plane<'a>(
    area: &Area<'a>,
    x: (&str, Range<f64>),
    y: (&str, Range<f64>),
) -> Result<Plane<'a>, DrawingAreaErrorKind<std::io::Error>> {
    plane_with(area, x, y, number)
}

/// The same, of logarithms to base 10: ticks say what they are of.
pub fn logarithmic_plane<'a>(
    area: &Area<'a>,
    x: (&str, Range<f64>),
    y: (&str, Range<f64>),
) -> Result<Plane<'a>, DrawingAreaErrorKind<std::io::Error>> {
    // Between powers of ten two digits are enough.
    let tick = |v: f64| {
        let unit = 10f64.powf(v.floor() - 1.0);
        number((10f64.powf(v) / unit).round() * unit)
    };
    plane_with(area, x, y, tick)
}

fn plane_with<'a>(
    area: &Area<'a>,
    x: (&str, Range<f64>),
    y: (&str, Range<f64>),
    tick: impl Fn(f64) -> String,
) -> Result<Plane<'a>, DrawingAreaErrorKind<std::io::Error>> {
    let mut plane = ChartBuilder::on(area)
        .margin_top(units(TOP))
        .margin_right(units(SIZE[0] - LEGEND))
        .margin_bottom(units(10.0))
        .margin_left(units(14.0))
        .x_label_area_size(units(46.0))
        .y_label_area_size(units(LEFT - 14.0))
        .build_cartesian_2d(x.1, y.1)?;
    plane
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(colour(svg::GRID).stroke_width(UNIT as u32))
        .axis_style(colour(svg::FAINT).stroke_width(UNIT as u32))
        .set_all_tick_mark_size(units(4.0))
        .label_style(style(TICKS, svg::FAINT))
        .axis_desc_style(style(WORDS, svg::INK))
        .x_desc(x.0)
        .y_desc(y.0)
        .x_labels(9)
        .y_labels(9)
        .x_label_formatter(&|v| tick(*v))
        .y_label_formatter(&|v| tick(*v))
        .draw()?;
    Ok(plane)
}

/// Where a point of the plane is, in pixels.
pub fn place_of(plane: &Plane, at: (f64, f64)) -> [f64; 2] {
    let (x, y) = plane.backend_coord(&at);
    [f64::from(x) / UNIT, f64::from(y) / UNIT]
}

/// What stands before a line of the legend.
#[derive(Clone, Copy)]
pub enum Key {
    Mark(Look),
    Line(ShapeStyle),
    Interval(ShapeStyle),
    Dot(ShapeStyle),
    /// Words alone: the line above goes on.
    Nothing,
}

/// The legend, right of the plane. plotters has its own only within the plane, where it would cover points.
pub fn legend(area: &Area, lines: &[(String, Key)]) -> Drawn {
    let (left, arm) = (units(LEGEND + 18.0), units(9.0));
    for (i, (words, key)) in lines.iter().enumerate() {
        let y = units(TOP + 10.0 + 21.0 * i as f64);
        let x = left + arm;
        match *key {
            Key::Mark(look) => area.draw(&look.at((x, y)))?,
            Key::Line(style) => area.draw(&PathElement::new([(x - arm, y), (x + arm, y)], style))?,
            Key::Interval(style) => {
                for ends in [[(x - arm, y), (x + arm, y)], [(x, y - arm), (x, y + arm)]] {
                    area.draw(&PathElement::new(ends, style))?;
                }
            }
            Key::Dot(style) => area.draw(&Circle::new((x, y), units(DOT), style))?,
            Key::Nothing => {}
        }
        let start = left + 2 * arm + units(9.0);
        area.draw(&Text::new(plain(words), (start, y), style(WORDS, svg::INK)))?;
    }
    Ok(())
}

/// From the smallest value to the largest, and a bit more, so that no mark stands on the frame.
pub fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let more = match 0.05 * (high - low) {
        // The axis needs room that f64 can tell from the values.
        more if more > 1e-9 * (high.abs() + low.abs()) => more,
        _ => (0.5 * high.abs()).max(1e-280),
    };
    low - more..high + more
}

pub fn units(pixels: f64) -> i32 {
    (pixels * UNIT).round() as i32
}

pub fn colour(hex: &str) -> RGBColor {
    let channel = |at: usize| hex.get(at..at + 2).and_then(|h| u8::from_str_radix(h, 16).ok()).unwrap_or(0);
    RGBColor(channel(1), channel(3), channel(5))
}

pub fn line(hex: &str, pixels: f64) -> ShapeStyle {
    colour(hex).stroke_width(units(pixels) as u32)
}

/// Letters of a size in pixels, in the document's font. Plotters divides the size that it is given by 1.24.
pub fn style(pixels: f64, hex: &str) -> TextStyle<'static> {
    ("inherit", 1.24 * UNIT * pixels).into_font().color(&colour(hex)).pos(Pos::new(HPos::Left, VPos::Center))
}

/// How the points of a series look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub colour: &'static str,
    shape: usize,
    hollow: bool,
}

/// Stars: corners, how far in the notches between them are, the turn of the first corner in degrees, and size in pixels.
const SHAPES: [(usize, f64, f64, f64); 8] = [
    (16, 1.0, 0.0, 4.4),
    (4, FRAC_1_SQRT_2, 45.0, 5.4),
    (3, 0.5, 0.0, 6.0),
    (4, FRAC_1_SQRT_2, 0.0, 5.6),
    (3, 0.5, 180.0, 6.0),
    (5, 0.42, 0.0, 6.6),
    (4, 0.36, 0.0, 6.8),
    (4, 0.36, 45.0, 6.8),
];

impl Look {
    /// Of the variant of a kind, both counted from zero: a kind has its colour and its shape, its first variant is filled
    /// and its second hollow. Later ones borrow the shapes of other kinds.
    pub fn of(kind: usize, variant: usize) -> Look {
        let shape = (kind + kind / SHAPES.len() + 3 * (variant / 2)) % SHAPES.len();
        Look { colour: svg::SERIES[kind % svg::SERIES.len()], shape, hollow: variant % 2 == 1 }
    }

    /// The mark at a place of any coordinates.
    pub fn at<C>(self, place: C) -> Mark<C> {
        Mark { look: self, place }
    }
}

/// The mark of a point, as an element of plotters.
pub struct Mark<C> {
    look: Look,
    place: C,
}

impl<'a, C> PointCollection<'a, C> for &'a Mark<C> {
    type Point = &'a C;
    type IntoIter = std::iter::Once<&'a C>;

    fn point_iter(self) -> Self::IntoIter {
        std::iter::once(&self.place)
    }
}

impl<C, DB: DrawingBackend> Drawable<DB> for Mark<C> {
    fn draw<I: Iterator<Item = (i32, i32)>>(
        &self,
        places: I,
        backend: &mut DB,
        _: (u32, u32),
    ) -> Result<(), DrawingErrorKind<DB::ErrorType>> {
        let (corners, notch, turn, size) = SHAPES[self.look.shape];
        let inside = if self.look.hollow { svg::PAGE } else { self.look.colour };
        for (x, y) in places {
            let corner = |i: usize| {
                let angle = (turn + 180.0 * i as f64 / corners as f64).to_radians();
                let radius = if i.is_multiple_of(2) { size } else { size * notch };
                (x + units(radius * angle.sin()), y - units(radius * angle.cos()))
            };
            backend.fill_polygon((0..2 * corners).map(corner), &colour(inside))?;
            backend.draw_path((0..=2 * corners).map(corner), &line(self.look.colour, 1.4))?;
        }
        Ok(())
    }
}
