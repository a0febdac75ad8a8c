//! The attribute `#[testkit::test]`. Use it from `testkit`, which has what it expands to.

use proc_macro::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Error, FnArg, Ident, ItemFn, Result, Type, parse_macro_input, spanned::Spanned};

/// Runs an async function as a test with a Postgres database of its own.
///
/// Each argument is built from the database by its `testkit::FromDatabase`. The database has the schema, and with
/// `#[testkit::test(empty)]` it has nothing. It is dropped after the test, unless the test failed.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    let schema = if options.is_empty() { None } else { Some(parse_macro_input!(options as Ident)) };
    let test = parse_macro_input!(item as ItemFn);
    expand(schema.as_ref(), test).unwrap_or_else(|error| error.to_compile_error().into())
}

/// Puts the test into a function of sqlx's attribute, which creates and drops the database. Its future is boxed, because
/// futures of long tests are large.
fn expand(schema: Option<&Ident>, test: ItemFn) -> Result<TokenStream> {
    let migrations = match schema {
        None => quote!(migrator = "::testkit::MIGRATOR"),
        Some(empty) if empty == "empty" => quote!(migrations = false),
        Some(other) => return Err(Error::new(other.span(), "expected `empty`, or nothing")),
    };
    let ItemFn { attrs, sig, block, .. } = test;
    if sig.asyncness.is_none() || sig.inputs.is_empty() {
        return Err(Error::new(sig.span(), "expected an async function with an argument"));
    }
    let (name, inputs, output) = (&sig.ident, &sig.inputs, &sig.output);
    let arguments = sig.inputs.iter().map(argument).collect::<Result<Vec<_>>>()?;
    let database = quote!(&database);
    let arguments = arguments.into_iter().map(|kind| {
        quote_spanned!(kind.span() => <#kind as ::testkit::FromDatabase>::from_database(#database).await)
    });
    Ok(quote! {
        #(#attrs)*
        #[::sqlx::test(#migrations)]
        async fn #name(
            options: ::sqlx::postgres::PgPoolOptions,
            connect: ::sqlx::postgres::PgConnectOptions,
        ) #output {
            async fn #name(#inputs) #output #block

            let database = ::testkit::Database::new(options, connect);
            let outcome = ::std::boxed::Box::pin(#name(#(#arguments),*)).await;
            database.close().await;
            outcome
        }
    }
    .into())
}

fn argument(input: &FnArg) -> Result<&Type> {
    match input {
        FnArg::Typed(typed) => Ok(&typed.ty),
        FnArg::Receiver(receiver) => Err(Error::new(receiver.span(), "a test has no `self`")),
    }
}
