//! Collects the wrong fields of a request ([`domain::field`]).

use domain::field::FieldError;

use super::Refusal;

/// Collects the wrong fields of a request, so that one answer names all of them.
#[derive(Default)]
pub struct Fields(Option<Refusal>);

impl Fields {
    /// Returns the field, or the default when it is wrong: [`Self::finish`] then refuses the request.
    pub fn check<T: Default>(&mut self, checked: Result<T, impl Into<Refusal>>) -> T {
        self.check_or(checked, T::default())
    }

    /// As [`Self::check`], for a type without a default.
    pub fn check_or<T>(&mut self, checked: Result<T, impl Into<Refusal>>, default: T) -> T {
        checked.unwrap_or_else(|wrong| {
            self.refuse(wrong.into());
            default
        })
    }

    /// Adds a refusal that was found elsewhere.
    pub fn refuse(&mut self, refusal: Refusal) {
        // The first refusal gives the reason and the message, so the order of the checks matters.
        self.0 = Some(match self.0.take() {
            Some(first) => first.and(refusal),
            None => refusal,
        });
    }

    /// # Errors
    /// When a field was wrong: the first refusal, with the errors of all.
    pub fn finish(self) -> Result<(), Refusal> {
        self.0.map_or(Ok(()), Err)
    }
}

/// `invalid_request`, with the field.
impl From<FieldError> for Refusal {
    fn from(FieldError { field, message }: FieldError) -> Self {
        Self::invalid(&field, message)
    }
}

#[cfg(test)]
mod tests {
    use domain::field::{id, line};

    use super::*;

    #[test]
    fn fields_name_all_that_is_wrong() {
        let mut fields = Fields::default();
        assert_eq!(fields.check(line("title", " a ", 5)), "a");
        assert_eq!(fields.check(line("name", "", 5)), "");
        fields.check(id("guestId", "a\n".to_owned()));
        let refusal = fields.finish().unwrap_err();
        assert_eq!(refusal.facts["field"], "name");
        let fields: Vec<_> = refusal.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["name", "guestId"]);
        assert!(Fields::default().finish().is_ok());
    }
}
