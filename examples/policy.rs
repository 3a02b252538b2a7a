//! A cache policy of one's own: measure what TeaCache measures, decide by another rule.
//!
//! TeaCache skips while the sum of distances stays under a fixed threshold. With this rule, the threshold rises along
//! the run: errors that are made early last, so it computes more steps early and skips more of them late.
//!
//! `cargo run --release --example policy`

use steep::cache::{Decision, Measure, Policy, Rule, Span, StandIn, Step, letters};
use steep::evaluate::metrics::psnr;
use steep::model::Dit;
use steep::sample::Progress;
use steep::{Device, generate};

const STEPS: usize = 50;

/// Skips while the sum of distances since the last computed step stays under a threshold that rises from `first` to
/// `last` along the run.
fn rising(first: f64, last: f64) -> Policy {
    let mut sum = 0.0;
    let rule = move |step: usize, distance: Option<f64>| {
        let along = step as f64 / (STEPS - 1) as f64;
        sum += distance.unwrap_or(f64::INFINITY);
        let (accumulated, ends) = (sum, step == 0 || step + 1 == STEPS);
        let decision = match sum < first + (last - first) * along {
            _ if ends => Decision::Forced,
            true => Decision::Skipped,
            false => Decision::Computed,
        };
        if decision.computes() {
            sum = 0.0;
        }
        Step { decision, distance, rescaled: distance, accumulated }
    };
    Policy {
        measure: Measure::Signal,
        rule: Rule::Host(Box::new(rule)),
        span: Span::Blocks,
        stand_in: StandIn::Residual,
    }
}

fn main() -> steep::Result<()> {
    pollster::block_on(async {
        let device = Device::open("auto").await?;
        let model = Dit::shipped(&device)?;
        let clip = generate(&model).class(6).steps(STEPS);
        let uncached = clip.run().await?.videos()?.remove(0);
        let nothing = &mut |_: Progress| Ok(());
        for (name, policy) in [
            ("tea:0.1 ", clip.clone().cache("tea:0.1:identity".parse()?).policy()?),
            ("rising  ", rising(0.04, 0.25)),
        ] {
            let run = clip.run_with(policy, nothing).await?;
            let psnr = psnr(&uncached, &run.videos()?[0])?;
            println!("{name} {} {} computed, PSNR {psnr:.1} dB", letters(&run.trace()), run.computed());
        }
        Ok(())
    })
}
