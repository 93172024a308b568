//! Attributes of agents: text form and v0 form (spec/master.md 3.6).

use crate::ResourceError;
use crate::text::{Parsed, parse_value};
use crate::value::{Value, coalesce};
use wire::v1;

/// Parses `name:value;name:value` (also one per line).
///
/// # Errors
/// The part that is not an attribute.
pub fn parse_attributes(text: &str) -> Result<Vec<v1::Attribute>, ResourceError> {
    let parts = text.split([';', '\n']).map(str::trim).filter(|p| !p.is_empty());
    parts
        .map(|part| {
            let (name, value) = part
                .split_once(':')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| {
                    ResourceError(format!(
                        "Bad value for attributes, expected 'name:value', got '{part}'"
                    ))
                })?;
            let mut attribute =
                v1::Attribute { name: name.trim().to_owned(), ..Default::default() };
            let value = parse_value(value).map_err(|why| {
                ResourceError(format!("Bad value for attributes, '{part}': {why}"))
            })?;
            match value {
                // No amount: it need not fit in thousandths.
                Parsed::Number(value) => {
                    attribute.r#type = v1::value::Type::Scalar as i32;
                    attribute.scalar = Some(v1::value::Scalar { value });
                }
                Parsed::Ranges(ranges) => {
                    attribute.r#type = v1::value::Type::Ranges as i32;
                    let range = coalesce(ranges)
                        .into_iter()
                        .map(|(begin, end)| v1::value::Range { begin, end })
                        .collect();
                    attribute.ranges = Some(v1::value::Ranges { range });
                }
                Parsed::Set(_) => {
                    return Err(ResourceError(format!(
                        "attribute '{part}' is a set; attributes can't be sets"
                    )));
                }
                Parsed::Text(value) => {
                    attribute.r#type = v1::value::Type::Text as i32;
                    attribute.text = Some(v1::value::Text { value });
                }
            }
            Ok(attribute)
        })
        .collect()
}

/// Names with a number or text, as the v0 endpoints print attributes.
#[must_use]
pub fn attributes_summary(attributes: &[v1::Attribute]) -> Vec<(String, crate::SummaryValue)> {
    let value = |a: &v1::Attribute| {
        if let Some(scalar) = &a.scalar {
            crate::SummaryValue::Number(scalar.value)
        } else if let Some(ranges) = &a.ranges {
            let ranges = ranges.range.iter().map(|r| (r.begin, r.end)).collect();
            crate::SummaryValue::Text(Value::Ranges(ranges).to_string())
        } else {
            crate::SummaryValue::Text(a.text.as_ref().map(|t| t.value.clone()).unwrap_or_default())
        }
    };
    attributes.iter().map(|a| (a.name.clone(), value(a))).collect()
}
