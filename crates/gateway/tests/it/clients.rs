//! Clients that are generated from the OpenAPI document compile in strict mode and work.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use serde_json::{Value, json};

use crate::support::{Gateway, args, checked, token};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// Runs a program in the repository. Returns its output.
fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).envs(environment.iter().copied()).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}:\n{out}\n{errors}");
    out.into_owned()
}

/// Creates an empty folder for generated code, and writes the document into it.
fn folder(name: &str) -> (String, String) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| drop(run(".ci/api", &["tools"], &[]))); // two npm processes must not run at once
    let folder = format!("target/api/{name}");
    let path = root().join(&folder);
    let _ = fs::remove_dir_all(&path); // it may not exist
    fs::create_dir_all(&path).expect("a folder");
    let document = gateway::openapi(None).expect("a document").to_string();
    fs::write(path.join("openapi.json"), document).expect("the document is written");
    (format!("{folder}/openapi.json"), folder)
}

/// The output of a client after its calls. The last call is refused.
fn expected(refused: &str) -> Value {
    json!({"title": "Algebra", "over": false, "listed": 1, "refused": refused})
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_typescript_client_compiles_strictly_and_works() {
    let gateway = Gateway::with(checked(args())).await;
    let url = format!("http://{}", gateway.address);
    let printed = tokio::task::spawn_blocking(move || {
        let (document, folder) = folder("typescript");
        run(
            "tools/node_modules/.bin/openapi-typescript",
            &[&document, "--output", &format!("{folder}/schema.d.ts")],
            &[],
        );
        for file in ["client.ts", "tsconfig.json"] {
            fs::copy(root().join("tools/clients").join(file), root().join(&folder).join(file))
                .expect("a copy");
        }
        fs::write(root().join(&folder).join("package.json"), r#"{"type": "module"}"#).expect("a package");
        std::os::unix::fs::symlink(
            root().join("tools/node_modules"),
            root().join(&folder).join("node_modules"),
        )
        .expect("a link to the packages");
        run("tools/node_modules/.bin/tsc", &["--project", &folder], &[]);
        run("node", &[&format!("{folder}/client.js"), &url, &token("ada")], &[])
    });
    let printed: Value = serde_json::from_str(&printed.await.expect("the client ends")).expect("JSON");
    assert_eq!(printed, expected("invalid_session_id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_python_client_checks_strictly_and_works() {
    let gateway = Gateway::with(checked(args())).await;
    let url = format!("http://{}", gateway.address);
    let printed = tokio::task::spawn_blocking(move || {
        let (document, folder) = folder("python");
        let bin = root().join("target/sdk/venv/bin");
        let tool = |name: &str| bin.join(name).to_string_lossy().into_owned();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let output = format!("{folder}/client");
        let arguments = [
            "generate",
            "--path",
            &document,
            "--output-path",
            &output,
            "--config",
            "tools/clients/python.yaml",
            "--fail-on-warning",
        ];
        run(&tool("openapi-python-client"), &arguments, &[("PATH", &path)]);
        let script = "tools/clients/client.py";
        let package = root().join(&output).to_string_lossy().into_owned();
        let environment = [("MYPYPATH", package.as_str()), ("PYTHONPATH", package.as_str())];
        run(&tool("mypy"), &["--strict", "--cache-dir", &format!("{folder}/mypy"), script], &environment);
        run(&tool("python"), &[script, &url, &token("ada")], &environment)
    });
    let printed: Value = serde_json::from_str(&printed.await.expect("the client ends")).expect("JSON");
    assert_eq!(printed, expected("unauthenticated"));
}
