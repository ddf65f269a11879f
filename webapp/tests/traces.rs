//! Traces and the access log of the program itself: it runs as a process, sends to a collector of this test's own, and
//! says on standard error what it logs.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Attribute};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message;
use serde_json::Value;

const CALLERS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN: &str = "b7ad6b7169203331";
const PATIENCE: Duration = Duration::from_secs(20);

/// The program, with a database that is away, killed at the end.
struct Program {
    child: Child,
    folder: tempfile::TempDir,
    lines: Receiver<Value>,
}

impl Program {
    fn start(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_webapp"))
            .arg("serve")
            .env_clear()
            .env("LISTEN", format!("unix:{}", folder.path().join("app.sock").display()))
            .env("DATABASE_URL", format!("mysql://app@127.0.0.1:{}/employees", closed_port()))
            .env("SERVED_BY", "replica-1")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                sender.send(serde_json::from_str(&line).unwrap()).unwrap();
            }
        });
        let program = Self { child, folder, lines };
        // In either order. Before it is known that the database is away, the first of a request's queries to fail ends
        // the others.
        let mut expected = vec!["serving", "the database is away"];
        while !expected.is_empty() {
            let line = program.next(Instant::now() + PATIENCE);
            expected.retain(|message| line["message"] != *message);
        }
        program
    }

    /// The next log line.
    fn next(&self, deadline: Instant) -> Value {
        self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap()
    }

    /// The next log line whose field has this value.
    fn line(&self, field: &str, value: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.next(deadline);
            if line[field] == value {
                return line;
            }
        }
    }

    /// The whole answer to a GET with these header lines.
    fn get(&self, path: &str, headers: &str) -> String {
        let mut stream = UnixStream::connect(self.folder.path().join("app.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to stop; the log lines that are left.
    fn stop(mut self) -> Vec<Value> {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.lines.iter().collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a collector was sent: the header and the body of each request.
type Sent = Receiver<(HeaderMap, ExportTraceServiceRequest)>;

/// A collector; its address.
fn collector() -> (String, Sent) {
    let (sender, sent) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let receive = async move |headers: HeaderMap, body: Bytes| {
        sender.send((headers, ExportTraceServiceRequest::decode(body).unwrap())).unwrap();
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, Router::new().route("/v1/traces", post(receive))).await
        })
    });
    (address, sent)
}

fn spans(sent: &Sent, count: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    while spans.len() < count {
        let (_, request) = sent.recv_timeout(PATIENCE).unwrap();
        spans.extend(request.resource_spans.into_iter().flat_map(|one| one.scope_spans).flat_map(|one| one.spans));
    }
    spans
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Attribute> {
    attributes.iter().find(|one| one.key == name)?.value.as_ref()?.value.as_ref()
}

fn text(text: &str) -> Option<Attribute> {
    Some(Attribute::StringValue(text.to_owned()))
}

#[test]
fn a_request_and_its_query_continue_the_callers_trace() {
    let (address, sent) = collector();
    let program = Program::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &address), ("OTEL_BSP_SCHEDULE_DELAY", "50")]);
    let traceparent = format!("traceparent: 00-{CALLERS_TRACE}-{CALLERS_SPAN}-01\r\n");
    let answer = program.get("/api/v1/employees/10001", &traceparent);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains(&format!("\r\ntraceresponse: 00-{CALLERS_TRACE}-")), "{answer}");
    let spans = spans(&sent, 2);
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (request, query) = (find("GET /api/v1/employees/{emp_no}"), find("employees.basics"));
    assert_eq!(hexadecimal(&request.trace_id), CALLERS_TRACE);
    assert_eq!(hexadecimal(&request.parent_span_id), CALLERS_SPAN);
    assert_eq!((request.kind(), query.kind()), (SpanKind::Server, SpanKind::Client));
    assert_eq!(attribute(&request.attributes, "http.response.status_code"), Some(&Attribute::IntValue(503)));
    assert_eq!(attribute(&request.attributes, "url.path").cloned(), text("/api/v1/employees/10001"));
    assert_eq!((&query.trace_id, &query.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!(attribute(&query.attributes, "db.namespace").cloned(), text("employees"));
    assert_eq!(attribute(&query.attributes, "error.type").cloned(), text("away"));
    assert!(request.start_time_unix_nano <= query.start_time_unix_nano);
    assert!(query.end_time_unix_nano <= request.end_time_unix_nano);
}

#[test]
fn what_is_left_is_sent_at_the_end_with_what_is_said_of_the_service() {
    let (address, sent) = collector();
    let program = Program::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &address),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b"),
        ("OTEL_SERVICE_NAME", "shop"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=web"),
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ]);
    assert!(program.get("/nothing", "").contains("\r\ntraceresponse: 00-"));
    for probe in ["/healthz", "/readyz"] {
        assert!(!program.get(probe, "").contains("traceresponse"), "{probe}");
    }
    program.stop();
    let (headers, request) = sent.recv_timeout(PATIENCE).unwrap();
    assert_eq!(headers["x-key"], "a b");
    let one = &request.resource_spans[0];
    let said = &one.resource.as_ref().unwrap().attributes;
    for (name, value) in [("service.name", "shop"), ("service.instance.id", "replica-1"), ("team", "web")] {
        assert_eq!(attribute(said, name).cloned(), text(value), "{said:?}");
    }
    let spans = &one.scope_spans[0].spans;
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["GET"], "a path that is no route");
    assert!(spans[0].parent_span_id.is_empty());
}

#[test]
fn the_sampler_decides_what_is_sent_and_the_trace_goes_on() {
    let (address, sent) = collector();
    let program =
        Program::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &address), ("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
    assert!(program.get("/show", "").contains("-00\r\n"), "not sampled");
    let sampled = format!("traceparent: 00-{CALLERS_TRACE}-{CALLERS_SPAN}-01\r\n");
    program.get("/show?sampled=1", &sampled);
    program.stop();
    let spans = spans(&sent, 1);
    assert_eq!(spans.iter().map(|span| hexadecimal(&span.trace_id)).collect::<Vec<_>>(), [CALLERS_TRACE]);
}

#[test]
fn a_collector_that_is_away_costs_a_line_and_no_request() {
    let address = format!("http://127.0.0.1:{}", closed_port());
    let program = Program::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &address), ("OTEL_BSP_SCHEDULE_DELAY", "20")]);
    program.get("/nothing", "");
    program.line("message", "traces cannot be sent, they are lost");
    for _ in 0..50 {
        let began = Instant::now();
        assert!(program.get("/nothing", "").starts_with("HTTP/1.1 404 "));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    let lines = program.stop();
    assert!(!lines.iter().any(|line| line["message"] == "traces cannot be sent, they are lost"), "{lines:?}");
}

#[test]
fn the_access_log_names_request_and_trace() {
    let program = Program::start(&[("ACCESS_LOG", "true")]);
    let headers = format!("X-Request-Id: id-1\r\ntraceparent: 00-{CALLERS_TRACE}-{CALLERS_SPAN}-01\r\n");
    let answer = program.get("/employees?limit=x", &headers);
    assert!(!answer.contains("traceresponse"), "it makes no traces: {answer}");
    let line = program.line("target", "access");
    assert_eq!((&line["method"], &line["uri"]), (&"GET".into(), &"/employees?limit=x".into()), "{line}");
    assert_eq!((&line["status"], &line["span"]["route"]), (&400.into(), &"/employees".into()), "{line}");
    assert_eq!((&line["span"]["request_id"], &line["span"]["trace_id"]), (&"id-1".into(), &CALLERS_TRACE.into()));
    assert!(line["seconds"].as_f64().unwrap() > 0.0, "{line}");
}

#[test]
fn there_is_no_access_log_unless_it_is_asked_for() {
    let program = Program::start(&[]);
    program.get("/nothing", "");
    let lines = program.stop();
    assert!(!lines.iter().any(|line| line["target"] == "access"), "{lines:?}");
}
