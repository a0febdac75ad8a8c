//! The texts of e-mails: one template file for each language (`templates/*.ftl`, Project Fluent). They are part of the
//! program.

use domain::locale::Language;
use fluent_bundle::{FluentArgs, FluentResource, concurrent::FluentBundle};

/// The template file of a language.
fn template(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("../../templates/en.ftl"),
        Language::German => include_str!("../../templates/de.ftl"),
    }
}

/// The texts of all languages.
pub struct Texts(Vec<(Language, FluentBundle<FluentResource>)>);

impl Texts {
    /// Parses the template files.
    ///
    /// # Errors
    /// What is wrong with one of them. A test reads them all.
    pub fn new() -> Result<Self, String> {
        Language::ALL
            .into_iter()
            .map(|language| Ok((language, bundle(language)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Returns the text `id`, or its attribute if the id is `id.attribute`.
    ///
    /// # Errors
    /// The text is missing, or lacks a value.
    pub fn text(&self, language: Language, id: &str, values: &FluentArgs<'_>) -> Result<String, String> {
        let wrong = || format!("the text `{id}` cannot be written in `{}`", language.code());
        let (_, bundle) = self.0.iter().find(|(own, _)| *own == language).ok_or_else(wrong)?;
        let (name, attribute) = id.split_once('.').map_or((id, None), |(name, part)| (name, Some(part)));
        let message = bundle.get_message(name).ok_or_else(wrong)?;
        let pattern = match attribute {
            Some(attribute) => message.get_attribute(attribute).map(|attribute| attribute.value()),
            None => message.value(),
        };
        let mut errors = Vec::new();
        let text = bundle.format_pattern(pattern.ok_or_else(wrong)?, Some(values), &mut errors);
        if errors.is_empty() { Ok(text.into_owned()) } else { Err(wrong()) }
    }
}

fn bundle(language: Language) -> Result<FluentBundle<FluentResource>, String> {
    let wrong = |error: &dyn std::fmt::Debug| format!("the texts in `{}`: {error:?}", language.code());
    let resource =
        FluentResource::try_new(template(language).to_owned()).map_err(|(_, errors)| wrong(&errors))?;
    let Ok(id) = language.code().parse() else { return Err(wrong(&"not a language")) };
    let mut bundle = FluentBundle::new_concurrent(vec![id]);
    // Without marks of direction around values: none of our languages is written from right to left.
    bundle.set_use_isolating(false);
    bundle.add_resource(resource).map_err(|errors| wrong(&errors))?;
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The ids of all texts and attributes, with the names of their values.
    fn keys(language: Language) -> BTreeMap<String, Vec<String>> {
        let (mut keys, mut message) = (BTreeMap::<String, Vec<String>>::new(), String::new());
        let mut key = String::new();
        for line in template(language).lines().filter(|line| !line.starts_with('#')) {
            if let Some((id, _)) = line.split_once('=').filter(|_| !line.starts_with(' ')) {
                id.trim().clone_into(&mut message);
                key.clone_from(&message);
            } else if let Some((attribute, _)) =
                line.trim().strip_prefix('.').and_then(|line| line.split_once('='))
            {
                key = format!("{message}.{}", attribute.trim());
            }
            let values = keys.entry(key.clone()).or_default();
            for value in line.split('$').skip(1) {
                let name: String = value.chars().take_while(char::is_ascii_alphanumeric).collect();
                values.push(name);
            }
            values.sort();
            values.dedup();
        }
        keys.retain(|key, _| !key.is_empty());
        keys
    }

    #[test]
    fn languages_have_the_same_texts_with_the_same_values() {
        assert!(keys(Language::English).len() > 30, "{:?}", keys(Language::English));
        assert_eq!(keys(Language::English), keys(Language::German));
    }

    #[test]
    fn text_without_its_values_is_refused() {
        let texts = Texts::new().unwrap();
        let mut values = FluentArgs::new();
        for language in Language::ALL {
            assert!(texts.text(language, "unheard-of", &values).is_err());
            assert!(texts.text(language, "duration", &values).is_err());
        }
        for (minutes, expected) in [(1, "1 Minute"), (45, "45 Minuten")] {
            values.set("minutes", minutes);
            assert_eq!(texts.text(Language::German, "duration", &values).unwrap(), expected);
        }
    }
}
