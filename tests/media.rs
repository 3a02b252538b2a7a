//! Videos, their files, the metrics and the skip map.

use steep::evaluate::metrics::{psnr, ssim};
use steep::noise::normal;
use steep::plot::{DecisionBand, FittedCurve, PolicyPoint, StepBar, decisions, fits, pareto, skip_map};
use steep::video::Video;

/// Values between -1.2 and 1.2, so that some are clamped.
fn noise(frames: usize, channels: usize, height: usize, width: usize, seed: u64) -> Video {
    let data = normal(seed, 0, frames * channels * height * width);
    let data = data.iter().map(|v| (v * 0.6).clamp(-1.2, 1.2)).collect();
    Video::new(frames, channels, height, width, data).unwrap()
}

fn flat(value: f32, shape: [usize; 4]) -> Video {
    let [f, c, h, w] = shape;
    Video::new(f, c, h, w, vec![value; f * c * h * w]).unwrap()
}

#[test]
fn a_video_has_as_many_values_as_its_shape_says() {
    assert!(Video::new(2, 3, 4, 5, vec![0.0; 120]).is_ok());
    for (shape, n) in [([2, 3, 4, 5], 119), ([0, 3, 4, 5], 0), ([1, 1, 1, 0], 0)] {
        let [f, c, h, w] = shape;
        assert!(Video::new(f, c, h, w, vec![0.0; n]).is_err(), "{shape:?}");
    }
    // Of these, the product wraps round to zero.
    let huge = 1 << (usize::BITS / 2);
    assert!(Video::new(huge, huge, 1, 1, vec![]).is_err());
    let mut spoilt = flat(0.0, [1, 1, 11, 11]);
    spoilt.width = 12;
    assert!(spoilt.gif(8).is_err() && spoilt.apng(8).is_err() && spoilt.y4m(8).is_err());
    assert!(psnr(&spoilt, &spoilt).is_err() && spoilt.upscale(1).is_err());
}

#[test]
fn values_are_shown_as_bytes() {
    let values = vec![-1.0, 1.0, 0.0, -7.0, 7.0, f32::NAN, f32::INFINITY, 0.5];
    let video = Video::new(1, 1, 1, 8, values).unwrap();
    assert_eq!(video.pixels(0).unwrap(), [0, 255, 128, 0, 255, 0, 255, 191]);
    let rgb = Video::new(1, 3, 1, 2, vec![-1.0, 1.0, 0.0, -1.0, 1.0, 0.0]).unwrap();
    assert_eq!(rgb.pixels(0).unwrap(), [0, 128, 255, 255, 0, 128]);
    let four = Video::new(2, 4, 1, 1, vec![0.0, 1., 1., 1., -1.0, 1., 1., 1.]).unwrap();
    assert_eq!((four.pixels(0).unwrap(), four.pixels(1).unwrap()), (vec![128], vec![0]));
}

#[test]
fn side_by_side_keeps_every_row_in_its_place() {
    let a = Video::new(2, 1, 2, 1, vec![0.1, 0.2, 0.3, 0.4]).unwrap();
    let b = Video::new(2, 1, 2, 2, (1..=8).map(|v| -v as f32 / 10.0).collect()).unwrap();
    let both = Video::side_by_side(&[&a, &b], 2).unwrap();
    assert_eq!(both.shape(), [2, 1, 2, 5]);
    assert_eq!(both.plane(0, 0)[..5], [0.1, 0.0, 0.0, -0.1, -0.2]);
    assert_eq!(both.plane(1, 0)[5..], [0.4, 0.0, 0.0, -0.7, -0.8]);
    assert_eq!(Video::side_by_side(&[&a], 9).unwrap(), a);
    assert!(Video::side_by_side(&[], 0).is_err());
    assert!(Video::side_by_side(&[&a, &flat(0.0, [2, 1, 3, 1])], 0).is_err());
}

#[test]
fn upscaling_repeats_pixels() {
    let video = Video::new(1, 2, 1, 2, vec![0.1, 0.2, 0.3, 0.4]).unwrap();
    let up = video.upscale(2).unwrap();
    assert_eq!(up.shape(), [1, 2, 2, 4]);
    assert_eq!(up.plane(0, 0), [0.1, 0.1, 0.2, 0.2, 0.1, 0.1, 0.2, 0.2]);
    assert_eq!(up.plane(0, 1), [0.3, 0.3, 0.4, 0.4, 0.3, 0.3, 0.4, 0.4]);
    assert_eq!(video.upscale(1).unwrap(), video);
    assert!(video.upscale(0).is_err() && video.upscale(65).is_err());
}

/// The frames as RGB and their delays.
fn read_gif(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<u16>, gif::Repeat) {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).unwrap();
    let (mut frames, mut delays) = (vec![], vec![]);
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        assert!(frame.buffer.chunks(4).all(|p| p[3] == 255));
        let rgb = frame.buffer.chunks(4).flat_map(|p| p[..3].to_vec());
        frames.push(rgb.collect());
        delays.push(frame.delay);
    }
    (frames, delays, decoder.repeat())
}

#[test]
fn a_grey_gif_is_exact() {
    let video = noise(5, 1, 17, 23, 1);
    let (frames, delays, repeat) = read_gif(&video.gif(8).unwrap());
    assert_eq!(frames.len(), 5);
    for (i, frame) in frames.iter().enumerate() {
        let grey: Vec<u8> = video.pixels(i).unwrap().iter().flat_map(|&v| [v; 3]).collect();
        assert_eq!(*frame, grey, "frame {i}");
    }
    // 12.5 hundredths of a second each.
    assert_eq!(delays, [13, 12, 13, 12, 13]);
    assert_eq!(repeat, gif::Repeat::Infinite);
    assert_eq!(read_gif(&video.gif(60).unwrap()).1, [2; 5]);
    assert_eq!(read_gif(&video.gif(1).unwrap()).1, [100; 5]);
    assert!(video.gif(0).is_err() && video.gif(1001).is_err());
    assert!(flat(0.0, [1, 1, 1, 65536]).gif(8).is_err());
}

#[test]
fn a_colour_gif_is_exact_up_to_256_colours_and_near_above() {
    let few = noise(2, 3, 16, 16, 2);
    let (frames, ..) = read_gif(&few.gif(10).unwrap());
    assert_eq!(frames, [few.pixels(0).unwrap(), few.pixels(1).unwrap()]);

    let ramp = |i: usize| (i % 64) as f32 / 32.0 - 1.0;
    let data = (0..3 * 64 * 64).map(|i| match i / 4096 {
        0 => ramp(i),
        1 => ramp(i / 64),
        _ => 0.0,
    });
    let many = Video::new(1, 3, 64, 64, data.collect()).unwrap();
    let (frames, ..) = read_gif(&many.gif(10).unwrap());
    let pairs = frames[0].iter().zip(many.pixels(0).unwrap());
    let error: f64 = pairs.map(|(&a, b)| f64::from(a.abs_diff(b))).sum();
    assert!(error / (3.0 * 4096.0) < 5.0, "mean error {}", error / 12288.0);
}

#[test]
fn an_animated_png_is_exact() {
    for (channels, frames) in [(1, 4), (3, 4), (2, 1)] {
        let video = noise(frames, channels, 9, 13, 3);
        let bytes = video.apng(8).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let animation = *reader.info().animation_control().unwrap();
        assert_eq!((animation.num_frames, animation.num_plays), (frames as u32, 0));
        let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
        for i in 0..frames {
            reader.next_frame(&mut buffer).unwrap();
            assert_eq!(buffer, video.pixels(i).unwrap(), "frame {i} of {channels} channels");
            let control = reader.info().frame_control().unwrap();
            assert_eq!((control.delay_num, control.delay_den), (1, 8));
        }
        assert!(video.apng(0).is_err());
    }
}

/// The header and the planes of every frame.
fn read_y4m(bytes: &[u8], planes: usize) -> (String, Vec<&[u8]>) {
    let end = bytes.iter().position(|&b| b == b'\n').unwrap();
    let frames = bytes[end + 1..].chunks(6 + planes);
    let frames = frames.map(|f| f.strip_prefix(b"FRAME\n").unwrap());
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), frames.collect())
}

#[test]
fn y4m_holds_grey_as_it_is_and_colour_as_jpeg_does() {
    let grey = noise(3, 1, 6, 5, 4);
    let bytes = grey.y4m(25).unwrap();
    let (header, frames) = read_y4m(&bytes, 30);
    assert_eq!(header, "YUV4MPEG2 W5 H6 F25:1 Ip A1:1 Cmono XCOLORRANGE=FULL");
    assert_eq!(frames, [grey.pixels(0).unwrap(), grey.pixels(1).unwrap(), grey.pixels(2).unwrap()]);

    // White, black, red, green, blue and mid-grey.
    let rgb = [[1., -1., 1., -1., -1., 0.], [1., -1., -1., 1., -1., 0.], [1., -1., -1., -1., 1., 0.]];
    let colour = Video::new(1, 3, 1, 6, rgb.concat()).unwrap();
    let bytes = colour.y4m(8).unwrap();
    let (header, frames) = read_y4m(&bytes, 18);
    assert_eq!(header, "YUV4MPEG2 W6 H1 F8:1 Ip A1:1 C444 XCOLORRANGE=FULL");
    let (y, chroma) = frames[0].split_at(6);
    assert_eq!(y, [255, 0, 76, 150, 29, 128]);
    assert_eq!(chroma, [128, 128, 85, 44, 255, 128, 128, 128, 255, 21, 107, 128]);
}

#[test]
fn metrics_of_hand_computed_cases() {
    let shape = [2, 1, 12, 13];
    let a = noise(2, 1, 12, 13, 5);
    assert_eq!((psnr(&a, &a).unwrap(), ssim(&a, &a).unwrap()), (100.0, 1.0));

    // Means 0.5 and 0.625: PSNR = −20·log₁₀ 0.125, SSIM = (2·0.3125 + C1)/(0.640625 + C1).
    let (x, y) = (flat(0.0, shape), flat(0.25, shape));
    assert!((psnr(&x, &y).unwrap() - 18.061_799_739_838_87).abs() < 1e-12);
    assert!((ssim(&x, &y).unwrap() - 0.6251 / 0.640_725).abs() < 1e-12);

    // One frame equal, one not: the mean of 100 and 18.06, not the PSNR of the whole.
    let mut half = x.clone();
    half.data[12 * 13..].fill(0.25);
    assert!((psnr(&x, &half).unwrap() - 59.030_899_869_919_44).abs() < 1e-12);

    // Beyond black and white nothing is seen.
    assert_eq!(psnr(&flat(1.0, shape), &flat(3.0, shape)).unwrap(), 100.0);
    assert!(psnr(&x, &flat(f32::NAN, shape)).unwrap().is_nan());
    assert!(ssim(&x, &flat(f32::NAN, shape)).unwrap().is_nan());
}

#[test]
fn metrics_refuse_what_they_cannot_compare() {
    let a = flat(0.0, [1, 1, 11, 11]);
    assert_eq!(ssim(&a, &a).unwrap(), 1.0);
    let other = flat(0.0, [1, 1, 11, 12]);
    assert!(psnr(&a, &other).is_err() && ssim(&a, &other).is_err());
    for shape in [[1, 1, 10, 20], [1, 1, 20, 10]] {
        let small = flat(0.0, shape);
        assert!(ssim(&small, &small).is_err() && psnr(&small, &small).is_ok());
    }
}

/// SSIM by its definition: at each place the whole window, moments about the mean.
fn naive_ssim(a: &Video, b: &Video) -> f64 {
    let at = |v: &Video, f, c, y: usize, x: usize| {
        ((f64::from(v.plane(f, c)[y * v.width + x]) + 1.0) / 2.0).clamp(0.0, 1.0)
    };
    let mut window = [[0.0; 11]; 11];
    for (y, row) in window.iter_mut().enumerate() {
        for (x, w) in row.iter_mut().enumerate() {
            let r2 = (y as f64 - 5.0).powi(2) + (x as f64 - 5.0).powi(2);
            *w = (-r2 / (2.0 * 1.5 * 1.5)).exp();
        }
    }
    let total: f64 = window.iter().flatten().sum();
    let (mut sum, mut n) = (0.0, 0);
    for (f, c) in (0..a.frames).flat_map(|f| (0..a.channels).map(move |c| (f, c))) {
        for (y, x) in (0..=a.height - 11).flat_map(|y| (0..=a.width - 11).map(move |x| (y, x))) {
            let over = |g: &dyn Fn(f64, f64) -> f64| {
                let mut s = 0.0;
                for (i, row) in window.iter().enumerate() {
                    for (j, w) in row.iter().enumerate() {
                        s += w / total * g(at(a, f, c, y + i, x + j), at(b, f, c, y + i, x + j));
                    }
                }
                s
            };
            let (ma, mb) = (over(&|a, _| a), over(&|_, b| b));
            let va = over(&|a, _| (a - ma).powi(2));
            let vb = over(&|_, b| (b - mb).powi(2));
            let cov = over(&|a, b| (a - ma) * (b - mb));
            sum +=
                (2.0 * ma * mb + 1e-4) * (2.0 * cov + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4));
            n += 1;
        }
    }
    sum / f64::from(n)
}

#[test]
fn ssim_agrees_with_its_definition() {
    for (channels, height, width) in [(1, 11, 11), (3, 14, 19), (2, 25, 12)] {
        let a = noise(2, channels, height, width, 6);
        let mut b = noise(2, channels, height, width, 7);
        for (b, a) in b.data.iter_mut().zip(&a.data) {
            *b = 0.8 * a + 0.2 * *b;
        }
        let (fast, naive) = (ssim(&a, &b).unwrap(), naive_ssim(&a, &b));
        assert!((fast - naive).abs() < 1e-12, "{fast} {naive}");
        assert!((0.5..0.99).contains(&fast), "{fast}");
    }
}

/// Fails unless every tag is closed, in order.
fn assert_well_formed(svg: &str) {
    let mut open = vec![];
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        assert!(tag.matches('"').count() % 2 == 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_skip_map_shows_every_step() {
    for n in [0, 1, 2, 3, 37, 100, 1000] {
        let steps: Vec<_> = (0..n)
            .map(|i| StepBar {
                decision: ['F', 'C', 'S'][i % 3],
                distance: (i > 0).then_some(1.0 / i as f64),
                accumulated: i as f64 / 7.0,
            })
            .collect();
        let svg = skip_map("a run", &steps, Some(0.15));
        assert_well_formed(&svg);
        assert_eq!(svg.matches("class=\"step\"").count(), n);
        assert_eq!(svg.matches(": skipped").count(), n / 3);
        assert!(svg.contains("threshold 0.15") && svg.contains("stroke-dasharray"));
        let svg = skip_map("a run", &steps, None);
        assert!(!svg.contains("threshold") && !svg.contains("stroke-dasharray"));
    }
}

#[test]
fn a_skip_map_survives_any_number_and_any_title() {
    let odd = [f64::NAN, f64::INFINITY, -f64::INFINITY, f64::MAX, -0.5, 5e-324, 1e30, 0.0];
    for a in odd {
        for b in odd {
            let step = |decision, v| StepBar { decision, distance: Some(v), accumulated: v };
            let steps = [step('F', a), step('C', b), step('?', 0.1), step('S', b)];
            let svg = skip_map("<a & \"b\">\u{1b}\0", &steps, Some(a));
            assert_well_formed(&svg);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{a} {b}");
            assert!(svg.contains("&lt;a &amp; \"b\"&gt;\\u{1b}\\u{0}</text>"));
            assert_eq!(svg.contains("threshold"), a.abs() < 1e290, "{a}");
            assert!(svg.len() < 20_000, "{a} {b}: {} bytes", svg.len());
        }
    }
}

/// What stands between `before` and the next `"`, for each that there is.
fn values(svg: &str, before: &str) -> Vec<f64> {
    svg.split(before).skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

fn point(policy: &str, gain: f64, quality: f64) -> PolicyPoint {
    PolicyPoint { policy: policy.into(), gain: (gain, Some(0.1)), quality: (quality, None) }
}

/// The texts of a picture, in order.
fn texts<'a>(svg: &'a str) -> Vec<&'a str> {
    let text = |rest: &'a str| rest.split_once('>')?.1.split('<').next().map(str::trim);
    svg.split("<text").skip(1).filter_map(text).collect()
}

/// The points of each element that has the attributes.
fn paths(svg: &str, attributes: &str) -> Vec<Vec<[f64; 2]>> {
    let of = |line: &str| {
        let points = line.split_once("points=\"")?.1.split('"').next()?;
        let pair = |p: &str| {
            let (x, y) = p.split_once(',').unwrap();
            [x.parse().unwrap(), y.parse().unwrap()]
        };
        Some(points.split_whitespace().map(pair).collect())
    };
    svg.lines().filter(|line| line.contains(attributes)).filter_map(of).collect()
}

#[test]
fn pareto_places_points_by_gain_and_cost() {
    let points = [
        point("uniform:2", 1.9, 30.0),
        point("tea:0.1", 2.4, 29.0),
        point("tea:0.2", 3.0, 24.0),
        point("tea:0.3:identity", 1.2, 22.0),
        point("mask:0110111+taylor", 1.5, 20.0),
        point("<lost>", f64::NAN, 20.0),
        point("lost too", 2.0, f64::INFINITY),
    ];
    let svg = pareto("a & b", ("times faster", "PSNR"), &points);
    assert_well_formed(&svg);
    assert!(svg.contains("<title>a &amp; b</title>") && !svg.contains("NaN") && !svg.contains("inf"));
    // The legend has each family once, in order; the plane has each setting.
    let said = texts(&svg);
    let families = ["uniform:…", "tea:…", "tea:…:identity", "static:…+taylor"];
    let found: Vec<&str> = said.iter().copied().filter(|text| text.contains(":…")).collect();
    assert_eq!(found, families);
    for setting in ["2", "0.1", "0.2", "0.3", "5"] {
        assert!(said.contains(&setting), "no {setting} in {said:?}");
    }
    assert!(!svg.contains("lost"), "those that are not finite are left out");
    assert!(said.iter().any(|text| text.contains("frontier")) && said.contains(&"95 % interval"));
    // One mark for each point and one in the legend, of one colour for a kind: tea's variant is hollow.
    let marks = |fill: &str| paths(&svg, &format!("<polygon opacity=\"1\" fill=\"{fill}\"")).len();
    assert_eq!(["#1F2933", "#114DB2", "#FFFFFF", "#FA3C18"].map(marks), [2, 3, 2, 2]);
    // The frontier joins uniform and the two of tea, in this order: to the right, and down.
    let frontier = &paths(&svg, "stroke=\"#F6C667\"")[0];
    assert_eq!(frontier.len(), 3);
    assert!(frontier.windows(2).all(|w| w[0][0] < w[1][0] && w[0][1] < w[1][1]), "{frontier:?}");
    assert_well_formed(&pareto("nothing", ("x", "y"), &[]));
}

#[test]
fn charts_survive_any_number() {
    let odd = [f64::NAN, f64::INFINITY, f64::MAX, 1e289, -1e289, 5e-324, 1.0, 1.0 + f64::EPSILON, 0.0];
    for (a, b) in odd.iter().flat_map(|a| odd.iter().map(move |b| (*a, *b))) {
        let point = |gain, quality| PolicyPoint {
            policy: "\u{1b}<&>".into(),
            gain: (gain, Some(quality)),
            quality: (quality, Some(gain)),
        };
        let curve = FittedCurve { name: "\u{1b}<&>".into(), coefficients: [a, b, a, b, a] };
        for svg in [
            pareto("\u{1b}<&>", ("x", "y"), &[point(a, b), point(b, a)]),
            fits("t", &[(a, b), (b, a)], std::slice::from_ref(&curve)),
        ] {
            assert_well_formed(&svg);
            assert!(!svg.contains("NaN") && !svg.contains('\u{1b}'), "{a} {b}");
            assert!(svg.len() < 60_000, "{a} {b}: {} bytes", svg.len());
        }
    }
}

#[test]
fn fits_show_pairs_and_curves() {
    let pairs: Vec<(f64, f64)> = (1..20).map(|i| (0.01 * f64::from(i), 0.02 * f64::from(i))).collect();
    let curve = |name: &str, coefficients| FittedCurve { name: name.into(), coefficients };
    let line = curve("degree 1", [0.0, 0.0, 0.0, 2.0, 0.0]);
    let steep = curve("steep", [0.0, 0.0, 0.0, 20.0, 0.0]);
    let svg = fits("fit", &pairs, &[line.clone(), steep, curve("<wild>", [1e300; 5])]);
    assert_well_formed(&svg);
    // One dot more is the legend's.
    assert_eq!(svg.matches("<circle").count(), 20);
    let said = texts(&svg);
    for name in ["a step of a clip", "degree 1", "steep", "&lt;wild&gt;"] {
        assert!(said.contains(&name), "no {name} in {said:?}");
    }
    assert!(!svg.contains("NaN"));
    // The line goes from the first point to the last, and no further.
    let dots: Vec<[f64; 2]> =
        values(&svg, "cx=\"").into_iter().zip(values(&svg, "cy=\"")).map(|(x, y)| [x, y]).collect();
    let path = &paths(&svg, "stroke=\"#158EF0\"")[0];
    for (end, dot) in [(path[0], dots[0]), (path[path.len() - 1], dots[18])] {
        assert!((end[0] - dot[0]).abs() < 2.0 && (end[1] - dot[1]).abs() < 2.0, "{end:?} {dot:?}");
    }
    // The steep one is cut off where it leaves the pairs' range, which ends little above the topmost dot.
    let top = dots.iter().map(|dot| dot[1]).fold(f64::INFINITY, f64::min);
    let cut = &paths(&svg, "stroke=\"#732D72\"")[0];
    assert!(cut.iter().all(|[x, y]| *y > top - 300.0 && *x < dots[18][0]), "{cut:?}");
    assert_well_formed(&fits("nothing", &[(f64::NAN, 1.0)], &[line]));
}

#[test]
fn decisions_are_a_cell_for_each_step() {
    let band =
        |policy: &str, computed: &[f64]| DecisionBand { policy: policy.into(), computed: computed.into() };
    let bands = [
        band("all", &[1.0; 5]),
        band("<none>", &[1.0, 0.0, 0.5, 0.0, 1.0]),
        band("steps:2", &[1.0; 2]),
        band("mask:10011", &[1.0, 0.0, 0.0, 1.0, 1.0]),
    ];
    let svg = decisions("t", &bands);
    assert_well_formed(&svg);
    // Five are the legend's.
    let cells = |what: &str| svg.matches(&format!(" fill=\"{what}\"")).count();
    assert_eq!(cells("#2F78B0"), 4 + 5 + 3 + 2 + 3, "computed by some");
    assert_eq!(cells("#F6C667"), 4 + 3 + 2, "skipped by some");
    assert_eq!(svg.matches("fill-opacity=\"0.500\"").count(), 2);
    assert!(svg.contains("&lt;none&gt;, step 2: computed in 50 %"));
    let said = texts(&svg);
    for text in ["static:3", "5 of 5", "2.5 of 5", "2 of 2", "0 %", "100 %", "denoising step"] {
        assert!(said.contains(&text), "no {text} in {said:?}");
    }
    // Two steps are as wide as five.
    let widths = |of: &str| {
        let line = svg.lines().find(|line| line.contains(of)).unwrap();
        values(line, " width=\"")[0] + 0.6
    };
    assert!((2.0 * widths("steps:2, step 1") - 5.0 * widths("all, step 4")).abs() < 0.1);
    assert_well_formed(&decisions("t", &[]));
}

/// A picture is what the magnified video would be, made a frame at a time.
#[test]
fn a_picture_is_the_magnified_video() {
    for channels in [1, 2, 3] {
        let video = noise(3, channels, 5, 7, 11);
        let (picture, up) = (video.picture(4).unwrap(), video.upscale(4).unwrap());
        assert_eq!((picture.width(), picture.height()), (28, 20));
        for frame in 0..3 {
            assert_eq!(picture.pixels(frame), up.pixels(frame));
        }
        assert_eq!(picture.gif(8).unwrap(), up.gif(8).unwrap());
        assert_eq!(picture.apng(8).unwrap(), up.apng(8).unwrap());
        assert_eq!(picture.y4m(8).unwrap(), up.y4m(8).unwrap());
        assert!(video.picture(0).is_err() && video.picture(65).is_err());
    }
}

#[test]
fn a_title_stands_over_every_frame() {
    let video = noise(2, 1, 9, 20, 8);
    let titled = video.titled(&["L", "abc"]).unwrap();
    assert_eq!(titled.shape(), [2, 1, 9 + 22, 20]);
    let art: Vec<String> = (0..10)
        .map(|row| (0..10).map(|x| if titled.plane(1, 0)[row * 20 + x] > 0.0 { '#' } else { '.' }).collect())
        .collect();
    let letter = [
        "..........",
        "..........",
        "####......",
        ".##.......",
        ".##.......",
        ".##.......",
        ".##...#...",
        ".##..##...",
        "#######...",
        "..........",
    ];
    assert_eq!(art, letter);
    for frame in 0..2 {
        assert_eq!(titled.plane(frame, 0)[22 * 20..], *video.plane(frame, 0));
        // Two letters of the second line have room.
        assert!(
            titled.plane(frame, 0)[12 * 20..20 * 20]
                .chunks(20)
                .all(|row| row[16..].iter().all(|v| *v == -1.0))
        );
    }
    // Colours, and a letter that there is not.
    let colour = noise(1, 3, 4, 8, 9).titled(&["é"]).unwrap();
    let asked = noise(1, 3, 4, 8, 9).titled(&["?"]).unwrap();
    assert_eq!((colour.shape(), colour), ([1, 3, 16, 8], asked));
}
