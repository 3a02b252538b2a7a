//! Sums in the words of C: what a kernel says about its shared memory.

/// What a sum comes to. It takes whole numbers, the given names, parentheses, `+ - * / %`, comparisons and `a ? b : c`.
///
/// The error is what was wanted, with the place in words.
pub(crate) fn evaluate(text: &str, names: &[(&str, u32)]) -> Result<i64, String> {
    let mut sum = Sum { rest: text, names, depth: 0 };
    let value = sum.choice()?;
    match sum.word() {
        "" => Ok(value),
        word => Err(format!("an operator instead of `{word}`")),
    }
}

struct Sum<'a> {
    rest: &'a str,
    names: &'a [(&'a str, u32)],
    depth: u32,
}

/// Operators by how tightly they bind, the loosest first.
const LEVELS: [&[&str]; 4] = [&["==", "!="], &["<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];
/// Parentheses in parentheses.
const DEEPEST: u32 = 64;

impl<'a> Sum<'a> {
    /// The next number, name or operator, or nothing at the end; it stays where it is.
    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let of = |test: fn(char) -> bool| self.rest.find(|c| !test(c)).unwrap_or(self.rest.len());
        let length = match self.rest.chars().next() {
            Some(c) if c.is_ascii_alphanumeric() || c == '_' => of(|c| c.is_ascii_alphanumeric() || c == '_'),
            Some(_) if ["==", "!=", "<=", ">="].iter().any(|two| self.rest.starts_with(two)) => 2,
            Some(c) => c.len_utf8(),
            None => 0,
        };
        &self.rest[..length]
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let found = self.word() == wanted;
        if found {
            self.rest = &self.rest[wanted.len()..];
        }
        found
    }

    fn wants(&mut self, wanted: &str) -> Result<(), String> {
        if self.takes(wanted) {
            return Ok(());
        }
        Err(format!("`{wanted}` instead of `{}`", self.word()))
    }

    fn choice(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("at most {DEEPEST} parentheses in one another"));
        }
        let value = self.level(0)?;
        let value = match self.takes("?") {
            true => {
                let yes = self.choice()?;
                self.wants(":")?;
                let no = self.choice()?;
                if value != 0 { yes } else { no }
            }
            false => value,
        };
        self.depth -= 1;
        Ok(value)
    }

    fn level(&mut self, at: usize) -> Result<i64, String> {
        let Some(operators) = LEVELS.get(at) else { return self.operand() };
        let mut value = self.level(at + 1)?;
        while let Some(&operator) = operators.iter().find(|&&operator| self.takes(operator)) {
            let other = self.level(at + 1)?;
            let result = match operator {
                "==" => Some(i64::from(value == other)),
                "!=" => Some(i64::from(value != other)),
                "<=" => Some(i64::from(value <= other)),
                ">=" => Some(i64::from(value >= other)),
                "<" => Some(i64::from(value < other)),
                ">" => Some(i64::from(value > other)),
                "+" => value.checked_add(other),
                "-" => value.checked_sub(other),
                "*" => value.checked_mul(other),
                "/" => value.checked_div(other),
                _ => value.checked_rem(other),
            };
            value = result.ok_or_else(|| format!("a number for {value} {operator} {other}"))?;
        }
        Ok(value)
    }

    fn operand(&mut self) -> Result<i64, String> {
        if self.takes("(") {
            let value = self.choice()?;
            self.wants(")")?;
            return Ok(value);
        }
        let word = self.word();
        self.rest = &self.rest[word.len()..];
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map_err(|_| format!("a whole number instead of `{word}`"));
        }
        let found = self.names.iter().find(|(name, _)| *name == word);
        found.map(|(_, value)| i64::from(*value)).ok_or_else(|| match word {
            "" => "a number at the end".to_string(),
            word => format!("a number or a constant instead of `{word}`"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    #[test]
    fn sums_are_those_of_c() {
        let names = [("HEAD", 72), ("ROWS", 3)];
        for (text, value) in [
            ("0", 0),
            ("2 + 3 * 4 - 1", 13),
            ("(2+3)*4", 20),
            ("7 / 2 * 2 % 4", 2),
            ("1 - 2 - 3", -4),
            ("HEAD > 80 ? 32 : 64", 64),
            ("HEAD >= 72 ? ROWS == 3 ? 1 : 2 : 3", 1),
            ("2 * (128 + 4 * (HEAD > 80 ? 32 : 64)) * ((HEAD + 15) / 16 * 16 + 8)", 2 * 384 * 88),
        ] {
            assert_eq!(evaluate(text, &names), Ok(value), "{text}");
        }
        for (text, wanted) in [
            ("", "a number at the end"),
            ("2 +", "a number at the end"),
            ("(2", "`)` instead of ``"),
            ("2 2", "an operator instead of `2`"),
            ("WIDTH", "a number or a constant instead of `WIDTH`"),
            ("2 $ 3", "an operator instead of `$`"),
            ("1 / (ROWS - 3)", "a number for 1 / 0"),
            ("0x10", "a whole number instead of `0x10`"),
            ("9223372036854775807 + 1", "a number for 9223372036854775807 + 1"),
            ("1 ? 2", "`:` instead of ``"),
        ] {
            assert_eq!(evaluate(text, &names), Err(wanted.to_string()), "{text}");
        }
        assert!(evaluate(&"(".repeat(100_000), &[]).unwrap_err().contains("64"));
    }
}
