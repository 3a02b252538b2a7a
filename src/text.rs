//! Text from elsewhere, made fit to be shown.

/// The text with everything escaped that would move a terminal's cursor, colour it, break the line, or turn the direction
/// of what follows, and without what XML cannot hold: names of files, tensors and models may come from anywhere.
pub fn plain(text: &str) -> String {
    let turns = |c| matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = |c: char| match c.is_control() || turns(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}
