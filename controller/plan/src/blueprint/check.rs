//! What a value may look like: one function per kind of value, for literals when they are read and for filled-in
//! templates on each host.
//!
//! The names are narrower than every tool allows, because they end as arguments of `systemctl`, `apt-get`, `dnf`,
//! `useradd` and `crontab`: no leading `-` (an option), no glob characters (a pattern), no blanks.

/// Why a value can't be used; reads on after the name of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Such as "is not an absolute path".
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: &'static str,
}

/// A check of a value.
pub(crate) type Check = fn(&str) -> Result<(), Complaint>;

/// The longest path that Linux takes (`PATH_MAX`, its final NUL included).
const PATH_BYTES_MAX: usize = 4095;

/// The longest name that `useradd` takes.
const ACCOUNT_BYTES_MAX: usize = 32;

fn complain(message: impl Into<String>, help: &'static str) -> Result<(), Complaint> {
    Err(Complaint {
        message: message.into(),
        help,
    })
}

/// Anything at all.
pub(crate) fn anything(_: &str) -> Result<(), Complaint> {
    Ok(())
}

/// Anything that sh can hold.
pub(crate) fn no_nul(value: &str) -> Result<(), Complaint> {
    if value.contains('\0') {
        return complain("contains a NUL byte", "sh can't hold one; use a file");
    }
    Ok(())
}

/// One line of text, not empty.
pub(crate) fn one_line(value: &str) -> Result<(), Complaint> {
    if value.is_empty() {
        return complain("is empty", "give it a text");
    }
    if value.contains(['\n', '\r', '\0']) {
        return complain("contains a line break or a NUL byte", "write one line");
    }
    Ok(())
}

/// An absolute path in its shortest spelling, so that two resources can't own one path under two spellings.
pub(crate) fn path(value: &str) -> Result<(), Complaint> {
    if value.contains(['\n', '\r', '\0']) {
        return complain("contains a line break or a NUL byte", "such a path can't be managed");
    }
    let Some(inside) = value.strip_prefix('/') else {
        return complain(format!("is \"{value}\", not an absolute path"), "begin it with `/`");
    };
    if inside.is_empty() {
        return complain("is the root directory", "name something inside it");
    }
    if inside.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return complain(
            format!("is \"{value}\", not the shortest spelling of that path"),
            "leave out `//`, `.`, `..` and a `/` at the end",
        );
    }
    if value.len() > PATH_BYTES_MAX {
        return complain(format!("is longer than {PATH_BYTES_MAX} bytes"), "no host can have it");
    }
    Ok(())
}

/// A path as one field of the account database.
pub(crate) fn account_path(value: &str) -> Result<(), Complaint> {
    path(value)?;
    if value.contains(':') {
        return complain("contains a `:`", "the account database separates its fields with it");
    }
    Ok(())
}

/// What a symbolic link points to: relative or absolute.
pub(crate) fn link_target(value: &str) -> Result<(), Complaint> {
    one_line(value)?;
    if value.len() > PATH_BYTES_MAX {
        return complain(format!("is longer than {PATH_BYTES_MAX} bytes"), "no host can have it");
    }
    Ok(())
}

/// Four octal digits.
pub(crate) fn mode(value: &str) -> Result<(), Complaint> {
    if value.len() == 4 && value.bytes().all(|digit| (b'0'..=b'7').contains(&digit)) {
        return Ok(());
    }
    complain(
        format!("is \"{value}\", not a mode"),
        "write four octal digits as a string: \"0644\"",
    )
}

fn name(value: &str, what: &str, signs: &str, help: &'static str) -> Result<(), Complaint> {
    let begins = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if begins && value.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c)) {
        return Ok(());
    }
    complain(format!("is \"{}\", not {what}", value.escape_debug()), help)
}

/// A user or group, by name or number.
pub(crate) fn account(value: &str) -> Result<(), Complaint> {
    if value.len() > ACCOUNT_BYTES_MAX {
        return complain(
            format!("is longer than {ACCOUNT_BYTES_MAX} bytes"),
            "no host can have it",
        );
    }
    // `useradd` takes a `$` at the end, for Samba's machine accounts.
    name(
        value.strip_suffix('$').unwrap_or(value),
        "the name of an account",
        "_-.@",
        "use letters, digits, `_`, `-` and `.`, with a letter, digit or `_` first",
    )
}

/// The name of a user or group that Holdfast makes: an account, and no number.
pub(crate) fn new_account(value: &str) -> Result<(), Complaint> {
    account(value)?;
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return complain(
            format!("is \"{value}\", only digits"),
            "a name must not look like a number",
        );
    }
    Ok(())
}

/// A package.
pub(crate) fn package(value: &str) -> Result<(), Complaint> {
    name(
        value,
        "the name of a package",
        "_-.+:~",
        "use letters, digits and `+-._:~`, with a letter or digit first; versions and patterns are not built yet",
    )
}

/// A service, without the suffix of its unit.
pub(crate) fn service(value: &str) -> Result<(), Complaint> {
    if value.ends_with(".service") {
        return complain(format!("is \"{value}\", with a suffix"), "leave out `.service`");
    }
    name(
        value,
        "the name of a service",
        "_-.@:\\",
        "use letters, digits and `_-.@:`, with a letter or digit first",
    )
}

/// The GECOS field of an account.
pub(crate) fn comment(value: &str) -> Result<(), Complaint> {
    if value.contains(|c: char| c == ':' || c.is_control()) {
        return complain(
            "contains a `:` or a control character",
            "the account database can't hold it",
        );
    }
    Ok(())
}

/// The number of a user or group.
pub(crate) fn account_number(value: &str) -> Result<(), Complaint> {
    match value.parse::<u32>() {
        // The last one, -1, means "unchanged" to chown.
        Ok(number) if number < u32::MAX => Ok(()),
        _ => complain(
            format!("is \"{value}\", not a number of an account"),
            "use 0 to 4294967294",
        ),
    }
}

/// A resource's own name, the part of its address after the type.
pub(crate) fn resource_name(value: &str) -> Result<(), Complaint> {
    if value.is_empty() {
        return complain("is empty", "write [type.name]");
    }
    if value.contains(char::is_control) {
        return complain("contains a control character", "use printable characters");
    }
    if value.contains("{{") {
        return complain(
            "is a template",
            "a name is the same on every host; choose a plain one and put the template into `path` or `name`",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_spelled_in_one_way() {
        for good in ["/etc/motd", "/srv/a b", "/-x", "/etc/...", "/é"] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "etc/motd",
            "~/x",
            "/",
            "//",
            "/etc/",
            "/etc//motd",
            "/etc/../motd",
            "/./x",
            "/a\nb",
            "/a\0",
        ] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn modes_have_four_octal_digits() {
        for good in ["0644", "1777", "4755", "0000"] {
            assert_eq!(mode(good), Ok(()));
        }
        for bad in ["644", "0888", "00644", "u+x", "", "0o64"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_never_an_option_or_a_pattern() {
        for check in [account, package, service] as [Check; 3] {
            for bad in [
                "", "-x", "--all", "a b", "a\tb", "a*", "a?", "a[b]", "a;b", "$(a)", "a\n", "a/b", "\u{1b}a",
            ] {
                assert!(check(bad).is_err(), "{bad:?}");
            }
        }
        for good in ["g++", "libstdc++6", "python3.11", "java-1.8.0-openjdk", "libc6:i386"] {
            assert_eq!(package(good), Ok(()));
        }
        for good in ["nginx", "getty@tty1", "systemd-journald", "postgresql@15-main"] {
            assert_eq!(service(good), Ok(()));
        }
        for good in ["www-data", "_apt", "1000", "host$", "first.last"] {
            assert_eq!(account(good), Ok(()));
        }
        assert!(new_account("1000").is_err());
        assert!(service("nginx.service").is_err());
    }
}
