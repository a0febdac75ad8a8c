//! What the documentation says about the shared types.

mod diagnosis_doc;
