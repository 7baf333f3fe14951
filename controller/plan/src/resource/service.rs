//! `service`: a service of the host's init.

use super::compare::{Wanted, nothing_said};
use super::undoing::Undoing;
use super::{Claim, ClaimKind, Collect, Comparison, Lifecycle, Unsupported};
use crate::address::ResourceType;
use crate::observation::{Attributes, Init, Platform};
use crate::sh::Sh;
use serde::{Deserialize, Serialize};

/// A service of the host's init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, without `.service`.
    pub name: String,
    /// Whether it shall run; `None`: not our concern.
    pub running: Option<bool>,
    /// Whether it shall start at boot; `None`: not our concern.
    pub enabled: Option<bool>,
}

impl Service {
    fn wanted_attributes(&self) -> Wanted {
        Wanted::default()
            .maybe("running", self.running.map(yes_or_no))
            .maybe("enabled", self.enabled.map(yes_or_no))
    }

    fn with_init(
        &self,
        platform: &Platform,
        running: &str,
        enabled: &str,
        part: &'static str,
    ) -> Result<Sh, Unsupported> {
        let library = match platform.init {
            Init::Systemd => SYSTEMD,
            Init::Sysv => SYSV,
            Init::None => return Err(Unsupported::NoInit),
        };
        if !platform.root {
            return Err(Unsupported::NeedsRoot("service"));
        }
        Ok(Sh::new()
            .set("name", &self.name)
            .set("running", running)
            .set("enabled", enabled)
            .code(library)
            .code(part))
    }
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

impl Lifecycle for Service {
    fn kind(&self) -> ResourceType {
        ResourceType::Service
    }

    fn collect(&self) -> Vec<Collect> {
        vec![Collect::Service(self.name.clone())]
    }

    fn probe(&self) -> Sh {
        Sh::new().call("hf_probe_service", [self.name.as_str()])
    }

    fn compare(&self, observed: &Attributes) -> Comparison {
        let name = &self.name;
        if observed.get("init") == Some("none") {
            return Comparison::Refused(Unsupported::NoInit.to_string());
        }
        match observed.get("unit") {
            None => nothing_said(),
            // Perhaps a package or file that is not applied yet brings it.
            Some("missing") => Comparison::Missing(format!("no unit {name}")),
            Some("masked") if self.running == Some(true) || self.enabled == Some(true) => Comparison::Refused(format!(
                "service {name} is masked; run `systemctl unmask {name}` if it shall run, or take the resource out"
            )),
            Some("static") if self.enabled == Some(true) => Comparison::Refused(format!(
                "service {name} can't be enabled: its unit has no [Install] section; take `enabled` out"
            )),
            Some(_) => self.wanted_attributes().compare(observed),
        }
    }

    fn wanted(&self, _observed: &Attributes) -> Vec<String> {
        self.wanted_attributes().lines()
    }

    fn capture(&self) -> Sh {
        Sh::new().set("name", &self.name).code(CAPTURE)
    }

    fn apply(&self, platform: &Platform) -> Result<Sh, Unsupported> {
        let word = |value: Option<bool>| value.map_or("", yes_or_no);
        self.with_init(platform, word(self.running), word(self.enabled), APPLY)
    }

    fn restore(&self, before: &Attributes, put: &Attributes, platform: &Platform) -> Result<Sh, Unsupported> {
        let was = |key| put.get(key).and(before.get(key)).unwrap_or_default();
        self.with_init(platform, was("running"), was("enabled"), UNDO)
    }

    fn restored(&self, before: &Attributes, put: &Attributes) -> Vec<String> {
        Wanted::default()
            .matching_put(before, put, &["running", "enabled"])
            .lines()
    }

    fn describe(&self, found: &Attributes) -> String {
        match found.get("unit") {
            None => return "nothing is known of it".to_owned(),
            Some("missing") => return "no unit".to_owned(),
            Some(_) => {}
        }
        let running = match found.get("running") {
            Some("yes") => "running",
            Some("no") => "not running",
            Some(other) => other,
            None => "running or not: unknown",
        };
        let enabled = match (found.get("unit"), found.get("enabled")) {
            (Some(kind @ ("masked" | "static")), _) => kind,
            (_, Some("yes")) => "enabled",
            (_, Some("no")) => "not enabled",
            (_, Some(other)) => other,
            (_, None) => "enabled or not: unknown",
        };
        format!("{running}, {enabled}")
    }

    fn undoing(&self, before: &Attributes, put: &Attributes) -> Undoing {
        let words = [("running", "starts", "stops"), ("enabled", "enables", "disables")];
        let verbs = words.iter().filter_map(|(key, yes, no)| {
            let was = before
                .get(key)
                .filter(|was| put.get(key).is_some_and(|put| put != *was))?;
            match was {
                "yes" => Some(*yes),
                "no" => Some(*no),
                _ => None,
            }
        });
        match verbs.collect::<Vec<_>>().join(" and ") {
            none if none.is_empty() => Undoing::nothing(),
            verbs => Undoing::restores(format!("{verbs} it, and removes nothing")),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::whole(ClaimKind::Service, &self.name)]
    }

    fn identity(&self) -> String {
        self.name.clone()
    }

    fn restart(&self, platform: &Platform) -> Option<Result<Sh, Unsupported>> {
        match self.running {
            Some(false) => None,
            Some(true) => Some(self.with_init(platform, "yes", "", "restart")),
            None => Some(self.with_init(platform, "", "", "restart")),
        }
    }
}

// Which links in the runlevels' folders SysV has for it, one `PATH TARGET` a line: what enables and disables also
// rewrites numbers and K links, and these come back exactly.
const CAPTURE: &str = r#"
for link in /etc/rc?.d/[SK]??"$name" /etc/rc.d/rc?.d/[SK]??"$name"; do
  if [ -h "$link" ]; then
    hf_link_one "$link"
    printf '%s\n' "$link $hf_target"
  fi
done >"$hf_before/links" || hf_die "cannot write $hf_before/links"
hf_digest_one "$hf_before/links"
printf '%s\n' "links $hf_digest" >"$hf_before/meta" || hf_die "cannot write $hf_before/meta"
"#;

const SYSTEMD: &str = r#"
fresh() {
  # A unit file that came or changed since systemd read it.
  case $(systemctl show -p NeedDaemonReload -p LoadState -- "$name" 2>/dev/null) in
  *NeedDaemonReload=yes* | *LoadState=not-found*) systemctl daemon-reload || hf_die "systemctl daemon-reload failed" ;;
  esac
}
start() { fresh; systemctl start -- "$name"; }
stop() { systemctl stop -- "$name"; }
enable() { fresh; systemctl enable -- "$name"; }
disable() { systemctl disable -- "$name"; }
restart() {
  fresh
  if [ "$running" = yes ]; then
    systemctl restart -- "$name" || hf_die "service $name did not restart: $(systemctl show -p Result -- "$name")"
  else
    systemctl try-restart -- "$name" || hf_die "service $name did not restart"
  fi
}
"#;

const SYSV: &str = r#"
script=/etc/init.d/$name
# Scripts come back before a daemon has written down who it is, or has ended: it is waited for.
until_it() {
  tries=0
  until if [ "$1" = runs ]; then "$script" status; else ! "$script" status; fi >/dev/null 2>&1 </dev/null; do
    tries=$((tries + 1))
    [ "$tries" -le 10 ] || break
    sleep 1
  done
}
start() { "$script" start && until_it runs; }
stop() { "$script" stop && until_it ends; }
enable() {
  if hf_have update-rc.d; then
    update-rc.d "$name" defaults && update-rc.d "$name" enable
  elif hf_have chkconfig; then
    chkconfig --add "$name" && chkconfig "$name" on
  else
    hf_die "the host has neither update-rc.d nor chkconfig to enable $name"
  fi
}
disable() {
  if hf_have update-rc.d; then
    update-rc.d "$name" disable
  elif hf_have chkconfig; then
    chkconfig "$name" off
  else
    hf_die "the host has neither update-rc.d nor chkconfig to disable $name"
  fi
}
restart() {
  if [ "$running" = yes ] || "$script" status >/dev/null 2>&1; then
    "$script" restart && until_it runs || hf_die "service $name did not restart"
  fi
}
"#;

const APPLY: &str = r#"
case $enabled in
yes) enable || hf_die "service $name could not be enabled" ;;
no) disable || hf_die "service $name could not be disabled" ;;
esac
case $running in
yes) start || hf_die "service $name did not start; see its own log on the host" ;;
no) stop || hf_die "service $name did not stop" ;;
esac
"#;

// In the other order: a service stops while its unit is still enabled, as one does by hand. One that is gone needs no undo.
const UNDO: &str = r#"
case $running in
yes) start || hf_die "service $name did not start; see its own log on the host" ;;
no) stop || hf_die "service $name did not stop" ;;
esac
case $enabled in
yes) enable || hf_die "service $name could not be enabled" ;;
no) disable || hf_die "service $name could not be disabled" ;;
esac
if [ -n "$enabled" ] && [ -r "$hf_before/links" ]; then
  for link in /etc/rc?.d/[SK]??"$name" /etc/rc.d/rc?.d/[SK]??"$name"; do
    [ ! -h "$link" ] || grep -e "^$link " "$hf_before/links" >/dev/null || rm -f "$link"
  done
  while read -r link target; do
    [ -h "$link" ] || ln -s "$target" "$link" || hf_die "cannot put $link back"
  done <"$hf_before/links"
fi
"#;
