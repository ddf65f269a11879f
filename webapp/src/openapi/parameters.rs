//! The parameters of the API, with the same constants that check them.

use serde_json::json;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, Required};

use crate::cursor;
use crate::group::Group;
use crate::routes::history::Of;
use crate::routes::{DeptNo, EmpNo};
use crate::search::{Gender, Limit, MAX_LIMIT, MAX_TEXT, Order, PAGE_PARAMETERS, Search, Sort, Status, Whole};

impl IntoParams for EmpNo {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let number = integer(0, i32::MAX as usize).examples([10_001]);
        vec![parameter(ParameterIn::Path, "emp_no", "The employee's number.", number)]
    }
}

impl IntoParams for DeptNo {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![parameter(ParameterIn::Path, "dept_no", "The department's number.", department())]
    }
}

impl IntoParams for Search {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        [
            ("q", "The beginning of a first or last name, or of both in either order.", name()),
            ("department", "In that department: today where `status` is `current`, else ever.", department()),
            ("title", "With that title: today where `status` is `current`, else ever.", text("Engineer")),
            ("gender", "Of that gender.", one_of(Gender::WORDS)),
            ("born_from", "Born on that day or later.", day()),
            ("born_to", "Born on that day or earlier, and not before `born_from`.", day()),
            ("hired_from", "Hired on that day or later.", day()),
            ("hired_to", "Hired on that day or earlier, and not before `hired_from`.", day()),
            ("status", "Works here today, or not any more.", one_of(Status::WORDS)),
            ("sort", "What the list is ordered by.", one_of(Sort::WORDS).default(Some(json!(Sort::default().word())))),
            ("order", "In which direction.", one_of(Order::WORDS).default(Some(json!(Order::default().word())))),
            ("limit", "How many a page has.", integer(1, MAX_LIMIT as usize).default(Some(json!(Limit::default().0)))),
            (
                "cursor",
                "Where the page begins, from `previous` or `next` of another page of this list: without it, at the \
                 list's beginning.",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .max_length(Some(cursor::MAX_LENGTH))
                    .pattern(Some("^[A-Za-z0-9_-]*$")),
            ),
        ]
        .into_iter()
        .map(|(name, description, schema)| parameter(ParameterIn::Query, name, description, schema))
        .collect()
    }
}

impl IntoParams for Group {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        [
            ("department", "Who is in that department today.", department()),
            ("title", "Who has that title today.", text("Engineer")),
            ("gender", "Who is of that gender.", one_of(Gender::WORDS)),
        ]
        .into_iter()
        .map(|(name, description, schema)| parameter(ParameterIn::Query, name, description, schema))
        .collect()
    }
}

impl IntoParams for Of {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![parameter(ParameterIn::Query, "department", "Of the departments, that one alone.", department())]
    }
}

impl IntoParams for Whole {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let all = Search::into_params(place).into_iter();
        all.filter(|parameter| !PAGE_PARAMETERS.contains(&parameter.name.as_str())).collect()
    }
}

fn parameter(place: ParameterIn, name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        // In this order: the second line knows what the first one said.
        .parameter_in(place)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// A whole number from `least` to `most`.
fn integer(least: usize, most: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(most))
}

/// Some text.
fn text(example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(MAX_TEXT))
        .pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]*$"))
        .examples([example])
}

/// One or two words.
fn name() -> ObjectBuilder {
    text("kyo mal").pattern(Some(r"^[^\s\x00-\x1f\x7f-\x9f]*( [^\s\x00-\x1f\x7f-\x9f]+)?$"))
}

/// A department's number.
fn department() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9A-Za-z]{1,4}$")).examples(["d005"])
}

/// A day that a `DATE` column can hold.
fn day() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)))
        .pattern(Some("^[1-9]"))
        .examples(["1965-02-01"])
}

/// One of some words.
fn one_of(words: &'static [&'static str]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Invalid;

    #[test]
    fn every_described_parameter_is_known_to_who_reads_it() {
        check(Search::into_params(|| None), |query| Search::parse(query).err());
        check(Group::into_params(|| None), |query| Group::parse(query).err());
        check(Of::into_params(|| None), |query| Of::parse(query).err());
    }

    fn check(parameters: Vec<Parameter>, refuse: impl Fn(&str) -> Option<Invalid>) {
        for parameter in parameters {
            let described = serde_json::to_value(&parameter).unwrap();
            let schema = &described["schema"];
            let example = [&schema["examples"][0], &schema["enum"][0], &schema["default"]]
                .into_iter()
                .find(|value| !value.is_null())
                .map(|value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
                .unwrap_or_default();
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair(&parameter.name, &example);
            assert_eq!(refuse(&query.finish()), None, "{}", parameter.name);
        }
    }
}
