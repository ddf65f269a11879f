//! A group of employees, for the statistics: query parameters in, a checked [`Group`] out, and back again for links.
//!
//! As in [`crate::search`], what is not known, is given twice or cannot mean anything is refused by name, and an empty
//! value counts as not given.

use crate::search::{self, Gender, Invalid};

/// Who has all of these today; every field narrows the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// In the department of that number.
    pub department: Option<String>,
    /// With that title.
    pub title: Option<String>,
    /// Of that gender.
    pub gender: Option<Gender>,
}

impl Group {
    /// The members of a department.
    pub fn department(dept_no: &str) -> Self {
        Self { department: Some(dept_no.to_owned()), ..Self::default() }
    }

    /// Reads a query string.
    ///
    /// # Errors
    /// One sentence that names the parameter and says what is allowed.
    pub fn parse(query: &str) -> Result<Self, Invalid> {
        let mut group = Self::default();
        for (name, value) in search::pairs(query)? {
            match name.as_ref() {
                "department" => search::set(&name, &value, &mut group.department, search::department)?,
                "title" => search::set(&name, &value, &mut group.title, search::plain)?,
                "gender" => search::set(&name, &value, &mut group.gender, str::parse)?,
                _ => return Err(search::unknown(&name)),
            }
        }
        Ok(group)
    }

    /// The query string that [`Group::parse`] reads this group from.
    pub fn query(&self) -> String {
        let Self { department, title, gender } = self;
        let mut query = form_urlencoded::Serializer::new(String::new());
        let values = [("department", department.as_deref()), ("title", title.as_deref())];
        for (name, value) in values.into_iter().chain([("gender", gender.map(Gender::word))]) {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn a_form_with_empty_fields_means_everybody() {
        assert_eq!(Group::parse("department=&title=&gender="), Ok(Group::default()));
        assert_eq!(Group::parse(""), Ok(Group::default()));
    }

    #[rstest]
    #[case("status=current", r#"there is no parameter "status""#)]
    #[case("gender=X", r#"gender is "X": give one of M, F"#)]
    #[case("gender=M&gender=F", "gender is given twice")]
    #[case("department=d0055", r#"department is "d0055": give 1 to 4 letters and digits"#)]
    #[case("title=a%00b", r#"title is "a\0b": give at most 100 characters of text"#)]
    fn bad_input_is_refused_by_name(#[case] query: &str, #[case] expected: &str) {
        assert_eq!(Group::parse(query).unwrap_err().to_string(), expected);
    }

    proptest! {
        #[test]
        fn a_link_leads_to_the_group_that_it_was_made_from(
            department in proptest::option::of("[a-z0-9]{1,4}"),
            title in proptest::option::of("[^\\p{Cc}\\s]{1,10}"),
            gender in proptest::option::of(proptest::sample::select(Gender::ALL)),
        ) {
            let group = Group { department, title, gender };
            prop_assert_eq!(Group::parse(&group.query()), Ok(group));
        }
    }
}
