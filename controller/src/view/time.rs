//! Moments and spans as people read them.

use holdfast_plan::ids::Timestamp;

/// Shows a moment in UTC, to the second: `2026-03-01 12:00:00Z`.
pub fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(
        |_| "at an impossible time".to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

/// Shows how long ago a moment was, roughly: `12 s`, `5 min`, `3 h`, `2 d`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.0.saturating_sub(at.0).max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REVIEW C13
    #[test]
    fn no_clock_of_a_host_is_too_wrong_to_be_shown() {
        let now = Timestamp(1_700_000_000_000);
        for at in [i64::MIN, -1, 0, i64::MAX] {
            assert!(ago(Timestamp(at), now).ends_with(" ago"), "{at}");
            let _ = moment(Timestamp(at));
        }
        assert_eq!(ago(Timestamp(i64::MAX), now), "0 s ago", "it is in the future there");
        assert_eq!(ago(Timestamp(now.0 - 119_999), now), "119 s ago");
    }
}
