//! `--format`: Go templates over JSON documents.

use std::collections::HashMap;
use std::sync::Arc;

use gotmpl::{MissingKey, Template, TemplateError, Value};
use serde_json::Value as Json;

use crate::error::{Error, Kind, Result};

/// Field of a row that has its labels as a map, where `Labels` is a text.
pub const LABELS: &str = "LabelMap";

/// A template that has been parsed.
pub struct Format {
    text: String,
}

/// Documents by the address of the map that was made from them.
///
/// Maps of the template engine are sorted; `json` shall keep the order of the document.
type Documents = Arc<HashMap<usize, Json>>;

impl Format {
    /// Checks a template; `\t` and `\n` stand for a tab and a line end.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        // A method call in Go; maps have none.
        let text = text.replace(".Label \"", "label . \"");
        let format = Self { text };
        format.template(MissingKey::Error, &Documents::default()).map_err(invalid)?;
        Ok(format)
    }

    /// Tells whether the template goes through all documents itself.
    pub fn ranges(&self) -> bool {
        self.text.starts_with("{{range") || self.text.starts_with("{{ range")
    }

    /// Fills in one document.
    pub fn render(&self, document: &Json) -> Result<String> {
        let mut documents = HashMap::new();
        let value = convert(document, &mut documents);
        let documents = Documents::new(documents);
        let run = |missing| {
            self.template(missing, &documents)
                .and_then(|template| template.execute_to_string(&value))
        };
        match run(MissingKey::Error) {
            // A label, say, that this one does not have. Fields of ours begin with a capital letter.
            Err(TemplateError::MissingKey { key })
                if !key.starts_with(|first: char| first.is_ascii_uppercase()) =>
            {
                run(MissingKey::Invalid).map_err(invalid)
            }
            Err(TemplateError::MissingKey { key }) => Err(Error::new(
                Kind::Invalid,
                format!("template: can't evaluate field {key}: there is no such field"),
            )
            .hint(match self.fields_beside(&key, document) {
                Some(fields) => format!("there are {fields}"),
                None => "`--format json` shows what there is".to_owned(),
            })),
            other => other.map_err(invalid),
        }
    }

    /// Lists the fields that are where a field was looked for that is not there.
    fn fields_beside(&self, key: &str, document: &Json) -> Option<String> {
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let field = format!(".{key}");
        let places = self.text.match_indices(&field).map(|(place, _)| place);
        let mut lists = places.filter_map(|place| {
            let mut parts = self.text[..place].rsplit(|it: char| !is_word(it) && it != '.');
            let path = parts.next().unwrap_or_default();
            let mut parent = document;
            for field in path.split('.').filter(|field| !field.is_empty()) {
                parent = parent.get(field)?;
            }
            let fields = parent.as_object()?;
            // Where it is there, it was another place that lacked it.
            (!fields.contains_key(key)).then(|| {
                fields
                    .keys()
                    .filter(|field| *field != LABELS)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ")
            })
        });
        lists.next()
    }

    /// Fills in headings in place of values.
    pub fn render_headings(&self, headings: &Json) -> Result<String> {
        let mut template = functions(Template::new("table"), &Documents::default());
        for name in ["json", "join", "upper", "lower", "title", "split", "truncate", "pad", "label"]
        {
            template = template.func(name, |words| {
                let heading = words.iter().find(|word| matches!(word, Value::String(_)));
                Ok(heading.cloned().unwrap_or(Value::Nil))
            });
        }
        let value = convert(headings, &mut HashMap::new());
        template
            .missing_key(MissingKey::Invalid)
            .parse(&self.text)
            .and_then(|template| template.execute_to_string(&value))
            .map_err(invalid)
    }

    fn template(
        &self,
        missing: MissingKey,
        documents: &Documents,
    ) -> Result<Template, TemplateError> {
        functions(Template::new("format"), documents).missing_key(missing).parse(&self.text)
    }
}

fn invalid(error: TemplateError) -> Error {
    let text = error.to_string();
    let text = text.strip_prefix("template: ").unwrap_or(&text);
    Error::new(Kind::Invalid, format!("template: {text}"))
}

/// Makes a value of the template engine, and notes the document of each map in it.
fn convert(json: &Json, documents: &mut HashMap<usize, Json>) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::Float(number),
            (None, None) => Value::Nil,
        },
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| convert(item, documents)).collect())
        }
        Json::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.as_str().into(), convert(value, documents)));
            let map: Arc<_> = Arc::new(fields.collect());
            let mut document = json.clone();
            // It is there for `.Label` only.
            if let Json::Object(fields) = &mut document {
                fields.shift_remove(LABELS);
            }
            documents.insert(Arc::as_ptr(&map) as usize, document);
            Value::Map(map)
        }
    }
}

/// The inverse of [`convert`].
fn restore(value: &Value, documents: &HashMap<usize, Json>) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_ref().into(),
        Value::List(items) => items.iter().map(|item| restore(item, documents)).collect(),
        Value::Map(map) => match documents.get(&(Arc::as_ptr(map) as usize)) {
            Some(document) => document.clone(),
            None => {
                let fields =
                    map.iter().map(|(name, value)| (name.to_string(), restore(value, documents)));
                Json::Object(fields.collect())
            }
        },
    }
}

/// Writes JSON as Go does: on one line, with the characters that matter to HTML escaped.
pub fn go_json(json: &Json) -> String {
    let text = json.to_string();
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// Adds the functions that Docker and Podman have.
fn functions(template: Template, documents: &Documents) -> Template {
    let documents = Arc::clone(documents);
    template
        .func("json", move |words| {
            let json = words.first().map_or(Json::Null, |value| restore(value, &documents));
            Ok(Value::from(go_json(&json)))
        })
        .func("join", |words| {
            // Docker has the list first, and a pipe puts it last.
            let ([Value::List(list), separator] | [separator, Value::List(list)]) = words else {
                return Err(wrong("join", "a list and a separator"));
            };
            let words: Vec<String> = list.iter().map(ToString::to_string).collect();
            Ok(Value::from(words.join(&separator.to_string())))
        })
        .func("split", |words| match words {
            [text, separator] => {
                let (text, separator) = (text.to_string(), separator.to_string());
                let parts: Vec<Value> = match separator.as_str() {
                    // Go has each letter then, and nothing around them.
                    "" => text.chars().map(|letter| Value::from(letter.to_string())).collect(),
                    separator => text.split(separator).map(Value::from).collect(),
                };
                Ok(Value::List(parts.into()))
            }
            _ => Err(wrong("split", "a text and a separator")),
        })
        .func("index", |words| match words {
            [value, keys @ ..] => {
                keys.iter().try_fold(value.clone(), |value, key| item(&value, key))
            }
            [] => Err(wrong("index", "a list or map, and what is wanted of it")),
        })
        .func("upper", |words| Ok(Value::from(one("upper", words)?.to_uppercase())))
        .func("lower", |words| Ok(Value::from(one("lower", words)?.to_lowercase())))
        .func("title", |words| Ok(Value::from(title(&one("title", words)?))))
        .func("truncate", |words| match words {
            [text, Value::Int(length)] => {
                let length = usize::try_from(*length).unwrap_or_default();
                Ok(Value::from(text.to_string().chars().take(length).collect::<String>()))
            }
            _ => Err(wrong("truncate", "a text and a length")),
        })
        .func("pad", |words| match words {
            [text, Value::Int(before), Value::Int(after)] => {
                let space =
                    |count: &i64| " ".repeat(usize::try_from(*count).unwrap_or(0).min(1000));
                Ok(Value::from(format!("{}{text}{}", space(before), space(after))))
            }
            _ => Err(wrong("pad", "a text and two lengths")),
        })
        .func("label", |words| match words {
            [document, Value::String(key)] => {
                let labels = document.field(LABELS).or_else(|| document.field("Labels"));
                let value = labels.and_then(|labels| labels.field(key));
                Ok(value.cloned().unwrap_or_else(|| Value::from("")))
            }
            _ => Err(wrong("Label", "a key")),
        })
}

/// Returns what a list or map has there. A map of texts, as labels are, has an empty text where it has
/// nothing, as in Go.
fn item(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    match (value, value.index(key)?) {
        (Value::Map(map), Value::Nil)
            if map.values().all(|other| matches!(other, Value::String(_))) =>
        {
            Ok(Value::from(""))
        }
        (_, item) => Ok(item),
    }
}

fn one(name: &str, words: &[Value]) -> Result<String, TemplateError> {
    match words {
        [text] => Ok(text.to_string()),
        _ => Err(wrong(name, "one text")),
    }
}

fn wrong(name: &str, wanted: &str) -> TemplateError {
    TemplateError::Exec(format!("{name} wants {wanted}"))
}

/// Begins each word with a capital letter.
fn title(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .map(|letter| {
            let first = !std::mem::replace(&mut inside, letter.is_alphanumeric());
            if first { letter.to_ascii_uppercase() } else { letter }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str, document: &Json) -> Result<String> {
        Format::new(text)?.render(document)
    }

    #[test]
    fn fills_in_documents() {
        let document = json!({
            "Names": ["web", "x"], "ID": "abc", "Size": 5, "Running": true, "None": null,
            "State": {"Z": 1, "A": "<&>"}, "Labels": {"tier": "front", "a.b": "c"},
        });
        for (text, want) in [
            ("{{.ID}}", "abc"),
            ("{{.ID}}\\t{{.Size}}\\n", "abc\t5\n"),
            ("{{.State.A}}", "<&>"),
            ("{{json .State}}", r#"{"Z":1,"A":"\u003c\u0026\u003e"}"#),
            ("{{.Names | json}}", r#"["web","x"]"#),
            ("{{json .None}}", "null"),
            ("{{join .Names \",\"}}", "web,x"),
            ("{{index .Names 0 | upper}}", "WEB"),
            ("{{title .ID}}{{lower \"ABC\"}}", "Abcabc"),
            ("{{range split \"a:b\" \":\"}}[{{.}}]{{end}}", "[a][b]"),
            ("{{split \"añ\" \"\"}} {{index (split .ID \"\") 2}}", "[a ñ] c"),
            ("{{index .Labels \"none\"}}|{{index .State \"none\"}}", "|<no value>"),
            ("{{index .Names 1}}{{index .State \"A\" | len}}", "x3"),
            ("{{truncate .ID 2}}|{{pad .ID 1 2}}|", "ab| abc  |"),
            ("{{.Label \"tier\"}}{{.Label \"none\"}}", "front"),
            ("{{index .Labels \"a.b\"}}", "c"),
            ("{{if eq .Running true}}yes{{end}}", "yes"),
            ("{{len .Names}}", "2"),
            ("{{printf \"%.2s\" .ID}}", "ab"),
            ("{{.Labels.missing}}", "<no value>"),
            ("{{range $key, $value := .Labels}}{{$key}}={{$value}};{{end}}", "a.b=c;tier=front;"),
        ] {
            assert_eq!(render(text, &document).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn tells_which_fields_there_are() {
        let document = json!({"ID": "x", "State": {"Running": true, "Pid": 1}, "LabelMap": {}});
        for (text, want) in [
            ("{{.Foo}}", "there are ID, State"),
            ("{{.ID}} {{.State.Foo}}", "there are Running, Pid"),
            ("{{if .State.Bad}}x{{end}}", "there are Running, Pid"),
            // It is looked for in the text around, too, whatever that is.
            ("\u{e9}.Foo {{.Foo}}", "there are ID, State"),
        ] {
            let error = render(text, &document).unwrap_err();
            assert_eq!(error.hint_text(), Some(want), "{text}");
        }
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, want) in [
            ("{{.Foo}}", "template: can't evaluate field Foo: there is no such field"),
            ("{{.ID.Foo}}", "can't evaluate field Foo in type string"),
            ("{{.ID", "unclosed action"),
            ("{{frobnicate .ID}}", "frobnicate"),
            ("{{join .ID}}", "join wants a list and a separator"),
        ] {
            let error = render(text, &json!({"ID": "abc"})).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
