//! `barge events`

use clap::Args;
use serde_json::{Value, json};

use super::World;
use super::answers;
use super::exit::Status;
use super::tree::Act;
use crate::api::model::event;
use crate::engine::EventOptions;
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::duration;
use crate::spec::filter::Filter;
use crate::spec::template::{Format, go_json};
use crate::spec::time;
use crate::store::events::{Event, Object};

/// Show what happens to containers, images and the like
///
/// Without --since and --until, it shows what happens from now on.
#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Show those of which this is true
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print each with a Go template, or as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Do not shorten IDs
    #[arg(
        long,
        value_name = "BOOL",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_parser = super::parse::truth
    )]
    no_trunc: bool,
    /// Nothing before this time, as in 10m ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Go on with what happens from now on
    #[arg(
        long,
        value_name = "BOOL",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_parser = super::parse::truth
    )]
    stream: bool,
    /// Nothing after this time, as in 10s from now
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Act for Events {
    fn act(self, world: &mut World) -> Result<Status> {
        let now = super::now();
        let options = EventOptions {
            filters: self.filter,
            since: self.since.map(|text| time::parse(&text, now)).transpose()?,
            until: self.until.map(|text| until(&text, now)).transpose()?,
            follow: self.stream,
        };
        let print = Print::new(self.format.as_deref())?;
        let engine = world.engine()?;
        let out = std::cell::RefCell::new(&mut world.out);
        engine.events(
            &options,
            &mut |event| {
                let text = match &print {
                    Print::Line => line(event, self.no_trunc),
                    Print::Json => go_json(&event::document(event)),
                    Print::Format(format) => format.render(&fields(event))?,
                };
                out.borrow_mut().line(&text)
            },
            &mut || out.borrow_mut().flush(),
        )?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let now = super::now();
        let since = self.since.map(|text| time::parse(&text, now)).transpose()?;
        let until = self.until.map(|text| until(&text, now)).transpose()?;
        // Without an end, the service goes on.
        let until = until.or_else(|| (!self.stream).then_some(now));
        let print = Print::new(self.format.as_deref())?;
        let request = Request::get("/events")
            .maybe("since", since.map(answers::seconds))
            .maybe("until", until.map(answers::seconds))
            .maybe("filters", answers::filters(&self.filter)?);
        for event in host.call(request)?.documents() {
            let event = event?;
            let text = match &print {
                Print::Line => line_of(&event, self.no_trunc),
                Print::Json => go_json(&event),
                Print::Format(format) => format.render(&fields_of(event))?,
            };
            world.out.line(&text)?;
            world.out.flush()?;
        }
        Ok(Status::SUCCESS)
    }
}

enum Print {
    Line,
    Json,
    Format(Format),
}

impl Print {
    fn new(format: Option<&str>) -> Result<Self> {
        Ok(match format.map(str::trim) {
            None | Some("") => Self::Line,
            Some("json" | "{{json .}}" | "{{ json . }}") => Self::Json,
            Some(text) => Self::Format(Format::new(text)?),
        })
    }
}

/// What a template sees of an event of another host: the document, by the names that templates use.
fn fields_of(event: Value) -> Value {
    let mut fields = event;
    let actor = fields["Actor"].clone();
    for (name, value) in [
        ("Time", fields["time"].clone()),
        ("TimeNano", fields["timeNano"].clone()),
        ("Scope", fields["scope"].clone()),
        ("Status", fields["Action"].clone()),
        ("From", actor["Attributes"]["image"].clone()),
        ("Image", actor["Attributes"]["image"].clone()),
        ("Name", actor["Attributes"]["name"].clone()),
        ("ID", actor["ID"].clone()),
        ("Attributes", actor["Attributes"].clone()),
    ] {
        fields[name] = value;
    }
    fields
}

/// Writes an event of another host as [`line`] does, in Docker's words.
fn line_of(event: &Value, whole: bool) -> String {
    let actor = &event["Actor"];
    let kind = answers::text(event, "Type");
    let id = match (kind, answers::text(actor, "ID")) {
        // Volumes have names only, and so have images as a rule.
        ("container" | "network", id) => answers::id(id, whole),
        (_, id) => id,
    };
    let attributes = actor["Attributes"].as_object().into_iter().flatten();
    let words = attributes.map(|(key, value)| match value.as_str() {
        Some(text) => format!("{key}={text}"),
        None => format!("{key}={value}"),
    });
    let words: Vec<String> = words.collect();
    let when = time::go_style_nanoseconds(answers::number(event, "timeNano"));
    let action = answers::text(event, "Action");
    let mut text = format!("{when} {kind} {action} {id}");
    if !words.is_empty() {
        text.push_str(&format!(" ({})", words.join(", ")));
    }
    text
}

/// Parses the end: a point in time, or how long from now on.
fn until(text: &str, now: i64) -> Result<i64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match duration::parse(text) {
        Ok(later) if !is_number => i64::try_from(later.as_nanos())
            .ok()
            .and_then(|later| now.checked_add(later))
            .ok_or_else(|| Error::new(Kind::Invalid, format!("invalid time `{text}`"))),
        _ => time::parse(text, now),
    }
}

/// What a template sees: the document, and every field that one may have.
fn fields(event: &Event) -> Value {
    let mut fields = event::document(event);
    fields["Time"] = json!(event.time / 1_000_000_000);
    fields["TimeNano"] = json!(event.time);
    fields["Scope"] = json!("local");
    fields["From"] = json!(event.image);
    let exit_code = event.details.get("exitCode").and_then(|code| code.parse::<i32>().ok());
    fields["ContainerExitCode"] = json!(exit_code.unwrap_or_default());
    for (field, detail) in [("HealthStatus", "health_status"), ("Error", "error")] {
        fields[field] = json!(event.details.get(detail).map(String::as_str).unwrap_or_default());
    }
    for (field, value) in [("ID", &event.id), ("Name", &event.name), ("Image", &event.image)] {
        fields[field] = json!(value);
    }
    fields["Network"] = json!(if event.object == Object::Network { &event.name } else { "" });
    fields["PodID"] = json!("");
    fields
}

/// Writes an event as Podman does.
fn line(event: &Event, whole: bool) -> String {
    let short = event.id.get(..12).unwrap_or(&event.id);
    let id = if whole { &event.id } else { short };
    let mut text = format!(
        "{} {} {}",
        time::go_style_nanoseconds(event.time),
        event.object.as_str(),
        event.action.as_str()
    );
    let mut add = |part: &str| {
        text.push(' ');
        text.push_str(part);
    };
    match event.object {
        Object::Container | Object::Pod => {
            add(id);
            let mut words = vec![format!("image={}", event.image), format!("name={}", event.name)];
            let more = event.details.iter().chain(&event.labels);
            words.extend(more.map(|(key, value)| format!("{key}={value}")));
            add(&format!("({})", words.join(", ")));
        }
        Object::Network => {
            add(id);
            let container = event.details.get("container").map(String::as_str).unwrap_or_default();
            add(&format!("(container={container}, name={})", event.name));
        }
        Object::Image | Object::Secret | Object::Config | Object::Volume | Object::System => {
            for part in [id, &event.name] {
                if !part.is_empty() {
                    add(part);
                }
            }
            if let Some(error) = event.details.get("error") {
                add(error);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::events::Action;

    #[test]
    fn writes_lines_as_podman_does() {
        let mut event = Event::new(Object::Container, Action::Died, "0123456789abcdef", "web");
        event.time = 1_795_913_242_096_603_602;
        event.image = "localhost/x:latest".into();
        event.labels.insert("a".into(), "b".into());
        event = event.with("exitCode", 3);
        assert_eq!(
            line(&event, false),
            "2026-11-29 00:47:22.096603602 +0000 UTC container died 0123456789ab (image=localhost/x:latest, name=web, exitCode=3, a=b)"
        );
        let mut event = Event::of_image(Action::PullError, "", "x").with("error", "no route");
        event.time = 1_000_000_000;
        let want = "1970-01-01 00:00:01 +0000 UTC image pull-error x no route";
        assert_eq!(line(&event, true), want);
    }

    #[test]
    fn an_end_lies_ahead_and_a_beginning_behind() {
        let second = 1_000_000_000;
        for (text, want) in [("10s", Some(110)), ("50", Some(50)), ("x", None)] {
            let want = want.map(|seconds: i64| seconds * second);
            assert_eq!(until(text, 100 * second).ok(), want, "{text}");
        }
    }
}
