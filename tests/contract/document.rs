use jsonschema::Validator;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, TRANSFER_ENCODING};
use reqwest::{Method, Response, Url};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// `openapi.yaml`, as something that a reply can be held against.
pub struct Document(pub Value);

/// One method of one path.
pub struct Operation<'d> {
    document: &'d Document,
    pub method: Method,
    pub path: &'d str,
    shared: &'d Value,
    definition: &'d Value,
}

pub struct Reply {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Document {
    pub fn load() -> Self {
        let document = serde_saphyr::from_str(include_str!("../../openapi.yaml"));
        Self(document.expect("openapi.yaml is YAML"))
    }

    pub fn paths(&self) -> &Map<String, Value> {
        self.0["paths"].as_object().expect("an object")
    }

    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.paths().iter().flat_map(move |(path, item)| {
            let methods =
                item.as_object().expect("an object").iter().filter_map(|(name, definition)| {
                    let method = Method::from_bytes(name.to_uppercase().as_bytes()).ok()?;
                    definition.get("responses").map(|_| (method, definition))
                });
            methods.map(move |(method, definition)| Operation {
                document: self,
                method,
                path,
                shared: &item["parameters"],
                definition,
            })
        })
    }

    /// The operation that answers a request.
    pub fn operation(&self, method: &Method, path: &str) -> Operation<'_> {
        self.operations()
            .find(|operation| operation.method == *method && operation.answers(path))
            .unwrap_or_else(|| panic!("{method} {path} is not documented"))
    }

    /// Panics unless `reply` is what a response object describes, in its headers, its media type and its body.
    pub fn check(&self, response: &Value, reply: &Reply, of: &str) {
        let response = self.follow(response);
        let nothing = Map::new();
        let headers = response["headers"].as_object().unwrap_or(&nothing);
        for (name, header) in headers {
            let header = self.follow(header);
            match reply.headers.get(name) {
                Some(value) => {
                    let text = value.to_str().expect("headers are ASCII");
                    let schema = &header["schema"];
                    let number = (schema["type"] == "integer").then(|| text.parse::<i64>().ok());
                    let value =
                        number.flatten().map_or_else(|| json!(text), |number| json!(number));
                    self.matches(schema, &value, &format!("{of}: {name}"));
                }
                None => assert!(header["required"] != true, "{of} lacks the header {name}"),
            }
        }
        for name in reply.headers.keys().filter(|name| !OF_HTTP_ITSELF.contains(name)) {
            let documented = headers.keys().any(|known| known.eq_ignore_ascii_case(name.as_str()));
            assert!(documented, "{of} has the undocumented header {name}");
        }

        let Some(content) = response["content"].as_object() else {
            assert!(reply.body.is_empty(), "{of} has an undocumented body");
            return;
        };
        let essence = reply.media();
        let media = content.get(essence);
        let media = media.unwrap_or_else(|| panic!("{of} is of the undocumented type {essence}"));
        let body = if essence.ends_with("json") {
            reply.json()
        } else {
            json!(String::from_utf8_lossy(&reply.body))
        };
        self.matches(&media["schema"], &body, of);
    }

    /// Panics unless `value` is what `schema` describes.
    pub fn matches(&self, schema: &Value, value: &Value, of: &str) {
        let errors: Vec<String> = self
            .validator(schema)
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{of} differs from its schema: {errors:#?}\n{value:#}");
    }

    fn validator(&self, schema: &Value) -> Validator {
        // Where the schema is, `#/components/schemas/..` must lead to the others.
        let rooted = json!({"allOf": [schema], "components": self.0["components"]});
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        options.build(&rooted).unwrap_or_else(|error| panic!("{error} in {schema:#}"))
    }

    /// What a reference leads to.
    pub fn follow<'d>(&'d self, value: &'d Value) -> &'d Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("within the document");
                self.follow(
                    self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} dangles")),
                )
            }
            None => value,
        }
    }
}

/// Headers that every HTTP server adds; a client never learns them from documentation.
const OF_HTTP_ITSELF: [reqwest::header::HeaderName; 4] =
    [CONTENT_LENGTH, CONTENT_TYPE, DATE, TRANSFER_ENCODING];

impl Operation<'_> {
    pub fn id(&self) -> &str {
        self.definition["operationId"].as_str().expect("each has one")
    }

    fn answers(&self, path: &str) -> bool {
        let template: Vec<&str> = self.path.split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        let same =
            |(template, given): (&&str, &&str)| template.starts_with('{') || template == given;
        template.len() == path.len() && template.iter().zip(&path).all(same)
    }

    pub fn statuses(&self) -> BTreeSet<u16> {
        let statuses = self.definition["responses"].as_object().expect("an object").keys();
        statuses.map(|status| status.parse().expect("a status")).collect()
    }

    /// The parameters in `place`: `path`, `query` or `header`.
    pub fn parameters(&self, place: &str) -> Vec<&Value> {
        let lists = [self.shared, &self.definition["parameters"]];
        let all = lists.into_iter().filter_map(Value::as_array).flatten();
        all.map(|one| self.document.follow(one)).filter(|one| one["in"] == place).collect()
    }

    /// The path with the examples of the required parameters in it.
    pub fn example_path(&self) -> String {
        let path = self.parameters("path").iter().fold(self.path.to_owned(), |path, parameter| {
            path.replace(&format!("{{{}}}", text(&parameter["name"])), &text(&parameter["example"]))
        });
        let query = self.parameters("query").into_iter().filter(|one| one["required"] == true);
        let query = query.map(|one| (text(&one["name"]), text(&one["example"])));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        if query.is_empty() { path } else { format!("{path}?{query}") }
    }

    /// Whether a `token` of ours, or a `client`'s own credential, is one way to be let in.
    pub fn takes_a(&self, scheme: &str) -> bool {
        let everywhere = &self.document.0["security"];
        let here = self.definition.get("security").unwrap_or(everywhere);
        here.as_array().expect("a list").iter().any(|way| way.get(scheme).is_some())
    }

    /// The media type of the request's body.
    pub fn takes(&self) -> Option<&str> {
        self.definition["requestBody"]["content"].as_object()?.keys().next().map(String::as_str)
    }

    /// The request body of the documentation.
    pub fn body_example(&self) -> &Value {
        let media = self.takes().expect("it takes a body");
        &self.definition["requestBody"]["content"][media]["example"]
    }

    /// All request bodies of the documentation.
    pub fn body_examples(&self) -> Vec<&Value> {
        let Some(media) = self.takes() else { return Vec::new() };
        let content = &self.definition["requestBody"]["content"][media];
        let named = content["examples"].as_object().into_iter().flat_map(|named| named.values());
        content.get("example").into_iter().chain(named.map(|one| &one["value"])).collect()
    }

    /// Panics unless `reply` is documented.
    pub fn check(&self, reply: &Reply) {
        let of = format!("{} {} {}", self.method, self.path, reply.status);
        let response = self.definition["responses"].get(reply.status.to_string());
        let body = String::from_utf8_lossy(&reply.body);
        let response = response.unwrap_or_else(|| panic!("{of} is not documented: {body}"));
        self.document.check(response, reply, &of);
    }
}

/// A scalar as it is written in an address.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Reply {
    pub async fn read(mut reply: Response) -> Self {
        let (status, headers, url) =
            (reply.status().as_u16(), reply.headers().clone(), reply.url().clone());
        let mut read = Self { url, status, headers, body: Vec::new() };
        while let Some(chunk) = reply.chunk().await.expect("a whole body") {
            read.body.extend_from_slice(&chunk);
            // Which has no end; what comes first is read.
            if read.media() == "text/event-stream" {
                break;
            }
        }
        read
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("headers are ASCII")
    }

    fn media(&self) -> &str {
        let media = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        media.and_then(|media| media.split(';').next()).unwrap_or_default()
    }
}
