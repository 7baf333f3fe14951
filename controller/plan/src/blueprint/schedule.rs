//! When a cron entry runs: five fields or a word, checked as Vixie cron reads them.

use super::check::Complaint;

const WORDS: [&str; 8] = [
    "@reboot",
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A field: what it is called, its range, and the names for its numbers (beginning with the lowest).
struct Field {
    what: &'static str,
    lowest: u32,
    highest: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        what: "minute",
        lowest: 0,
        highest: 59,
        names: &[],
    },
    Field {
        what: "hour",
        lowest: 0,
        highest: 23,
        names: &[],
    },
    Field {
        what: "day of the month",
        lowest: 1,
        highest: 31,
        names: &[],
    },
    Field {
        what: "month",
        lowest: 1,
        highest: 12,
        names: &MONTHS,
    },
    // 0 and 7 are both Sunday.
    Field {
        what: "day of the week",
        lowest: 0,
        highest: 7,
        names: &DAYS,
    },
];

/// Checks a schedule.
pub(crate) fn check(schedule: &str) -> Result<(), Complaint> {
    let help = "write five fields (minute, hour, day, month, weekday) such as \"5 3 * * *\", or @daily and its like";
    let complain = |message: String| Err(Complaint { message, help });
    if schedule.contains(|c: char| c.is_control() && c != '\t') {
        return complain("contains a control character".to_owned());
    }
    if schedule.starts_with('@') {
        if WORDS.contains(&schedule) {
            return Ok(());
        }
        return complain(format!("is \"{schedule}\", which cron does not know"));
    }
    let fields: Vec<&str> = schedule.split_ascii_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return complain(format!("has {} fields, and cron wants five", fields.len()));
    }
    for (text, field) in fields.iter().zip(&FIELDS) {
        if !text.split(',').all(|part| field.takes(part)) {
            return complain(format!("has \"{text}\" for the {}", field.what));
        }
    }
    Ok(())
}

impl Field {
    fn takes(&self, part: &str) -> bool {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let step_fits = step.is_none_or(|step| number(step).is_some_and(|step| step >= 1 && step <= self.highest));
        let range_fits = match range.split_once('-') {
            _ if range == "*" => true,
            Some((first, last)) => match (self.value(first), self.value(last)) {
                (Some(first), Some(last)) => first <= last,
                _ => false,
            },
            // A step needs something to step through.
            None => step.is_none() && self.value(range).is_some(),
        };
        step_fits && range_fits
    }

    fn value(&self, text: &str) -> Option<u32> {
        if let Some(index) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return u32::try_from(index).ok().map(|index| self.lowest + index);
        }
        number(text).filter(|number| (self.lowest..=self.highest).contains(number))
    }
}

/// Digits only: `parse` alone would take `+5`.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_that_crontab_takes_are_taken() {
        for good in [
            "5 3 * * *",
            "*/15 * * * *",
            "0 0 1,15 * *",
            "0 9-17/2 * * mon-fri",
            "0 0 * jan,JUL 7",
            "@daily",
            "@reboot",
            "0\t0 * * 0",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn schedules_that_crontab_refuses_are_refused() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5/2 * * * *",
            "*/0 * * * *",
            "9-5 * * * *",
            "a * * * *",
            "@dayly",
            "* * * * *\n* * * * *",
            "+5 * * * *",
            ", * * * *",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
