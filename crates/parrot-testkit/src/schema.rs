//! Whether JSON has the form that a schema in the repository documents, with all of its fields and no more.
//!
//! It knows the words of JSON Schema that these schemas use: `type`, `properties`, `required`, `additionalProperties`,
//! `items`, `const`, `enum`, `anyOf` and `$ref` to the whole or a part of `$defs`.

use serde_json::{Map, Value};

/// A schema.
#[derive(Debug)]
pub struct Schema {
    whole: Value,
    /// The only fields that it need not require.
    optional: &'static [&'static str],
}

impl Schema {
    /// Reads a schema that requires all fields but those in `optional`.
    #[track_caller]
    #[allow(clippy::expect_used, reason = "for tests")]
    pub fn new(text: &str, optional: &'static [&'static str]) -> Schema {
        Schema { whole: serde_json::from_str(text).expect("a schema is JSON"), optional }
    }

    /// Fails the test if `value` has not the form of the whole schema.
    #[track_caller]
    #[allow(clippy::panic, reason = "for tests")]
    pub fn check(&self, value: &Value) {
        self.compare(value, &self.whole, "$").unwrap_or_else(|wrong| panic!("{wrong}"));
    }

    /// The same for the part `name` of `$defs`.
    #[track_caller]
    #[allow(clippy::panic, reason = "for tests")]
    pub fn check_part(&self, name: &str, value: &Value) {
        self.compare(value, &self.whole["$defs"][name], name).unwrap_or_else(|wrong| panic!("{wrong}"));
    }

    fn compare(&self, value: &Value, schema: &Value, path: &str) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let part = reference.strip_prefix("#/$defs/").map_or(&self.whole, |name| &self.whole["$defs"][name]);
            return self.compare(value, part, path);
        }
        if let Some(forms) = schema["anyOf"].as_array() {
            let compared = forms.iter().map(|form| self.compare(value, form, path));
            return compared.reduce(Result::or).unwrap_or_else(|| Err(format!("{path} has no form")));
        }
        let types = &schema["type"];
        let is = |name: &str| types == name || types.as_array().is_some_and(|types| types.iter().any(|t| t == name));
        let right = match value {
            Value::Null => is("null"),
            Value::Bool(_) => is("boolean"),
            Value::String(_) => is("string"),
            Value::Number(number) => is("number") || (is("integer") && number.is_u64()),
            Value::Array(_) => is("array"),
            Value::Object(_) => is("object"),
        };
        let listed = schema["enum"].as_array().is_none_or(|values| values.contains(value))
            && schema.get("const").is_none_or(|only| only == value);
        if !right || !listed {
            return Err(format!("{path} is {value}, and should be {schema}"));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.compare(item, &schema["items"], &format!("{path}[{index}]"))?;
        }
        let Some(fields) = value.as_object() else { return Ok(()) };
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        for (name, field) in fields {
            let of = properties.get(name).or(schema.get("additionalProperties"));
            let of = of.ok_or_else(|| format!("{path}.{name} is not in the schema"))?;
            self.compare(field, of, &format!("{path}.{name}"))?;
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let required: Vec<&str> = required.collect();
        if let Some(name) = required.iter().find(|name| !fields.contains_key(**name)) {
            return Err(format!("{path} lacks the field {name}"));
        }
        let is_lax = |name: &&String| !required.contains(&name.as_str()) && !self.optional.contains(&name.as_str());
        let lax = properties.keys().find(is_lax);
        lax.map_or(Ok(()), |name| Err(format!("the schema should require {path}.{name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_differ_from_a_schema_is_found() {
        let text = r##"{ "type": "object", "required": ["kind", "more"], "properties": {
            "kind": { "type": "string", "enum": ["a", "b"] }, "free": { "type": "integer", "const": 1 },
            "more": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] }
        } }"##;
        let schema = Schema::new(text, &["free"]);
        let differs = |text: &str| {
            let value = serde_json::from_str(text).unwrap_or_default();
            schema.compare(&value, &schema.whole, "$").err()
        };
        assert_eq!(differs(r#"{"kind": "a", "more": {"kind": "b", "more": null}}"#), None);
        for wrong in ["null", "{}", r#"{"kind": "c", "more": null}"#, r#"{"kind": "a", "more": 1}"#] {
            assert!(differs(wrong).is_some(), "{wrong}");
        }
        assert_eq!(differs(r#"{"kind": "a", "more": null, "free": 1}"#), None);
        assert!(differs(r#"{"kind": "a", "more": null, "free": 2}"#).is_some());
        let more = differs(r#"{"kind": "a", "more": null, "less": 1}"#);
        assert_eq!(more.as_deref(), Some("$.less is not in the schema"));
        let lax = Schema { optional: &[], ..schema };
        let value = serde_json::from_str(r#"{"kind": "a", "more": null}"#).unwrap_or_default();
        assert_eq!(lax.compare(&value, &lax.whole, "$").err().as_deref(), Some("the schema should require $.free"));
    }
}
