//! Where traces go and which are kept: the standard variables of OpenTelemetry, as far as they mean something here.

use axum::http::{HeaderName, HeaderValue, Uri};
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use tandem_environment::variable::text;
use tandem_environment::{Environment, Error, Variable};

use super::certificates;

pub(super) const ENDPOINT: Variable<String> = Variable::new(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "the http:// or https:// address of a collector, such as http://collector:4318",
    endpoint,
    "where traces are sent by OTLP (to `/v1/traces` below it); not set: none are made",
);
pub(super) const PROTOCOL: Variable<()> = Variable::new(
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "http/protobuf, the one protocol that is spoken here",
    |value| (value == "http/protobuf").then_some(()),
    "how they are sent",
)
.default("http/protobuf");
pub(super) const HEADERS: Variable<Vec<(String, String)>> = Variable::new(
    "OTEL_EXPORTER_OTLP_HEADERS",
    "name=value, separated by commas, with special characters of the values percent-encoded",
    headers,
    "headers of the requests to the collector, for example its key",
)
.secret();
pub(super) const CERTIFICATE: Variable<Vec<u8>> = Variable::new(
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "the path of a readable file of PEM certificates",
    certificates,
    "whom to trust with an https:// collector, instead of the public authorities",
);
pub(super) const SERVICE_NAME: Variable<String> =
    Variable::text("OTEL_SERVICE_NAME", "what this service is called in the traces").default("webapp");
pub(super) const RESOURCE_ATTRIBUTES: Variable<Vec<(String, String)>> = Variable::new(
    "OTEL_RESOURCE_ATTRIBUTES",
    "name=value, separated by commas, with special characters of the values percent-encoded",
    pairs,
    "what else the traces say of this service",
);
pub(super) const SAMPLER: Variable<Kind> = Variable::new(
    "OTEL_TRACES_SAMPLER",
    "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or parentbased_traceidratio",
    kind,
    "which traces are kept; `parentbased_`: as the caller decided, where there is one",
)
.default("parentbased_always_on");
pub(super) const SAMPLER_ARG: Variable<f64> = Variable::new(
    "OTEL_TRACES_SAMPLER_ARG",
    "a number from 0 to 1",
    |value| value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)),
    "the share of the traces that a `traceidratio` keeps",
)
.default("1");

/// How traces are made and sent.
pub struct TraceConfig {
    /// Where to, the whole address.
    pub endpoint: String,
    /// With which headers. May hold a secret.
    pub headers: Vec<(String, String)>,
    /// The PEM certificates of the authorities to trust; `None`: the public ones.
    pub authorities: Option<Vec<u8>>,
    /// The service's name.
    pub service: String,
    /// What else is said of the service.
    pub attributes: Vec<(String, String)>,
    /// Which traces are kept.
    pub sampler: Sampler,
}

impl TraceConfig {
    /// Reads and checks every variable, whether or not there is an endpoint; `None` where there is none.
    ///
    /// # Errors
    /// The first variable that is not allowed.
    pub(super) fn read(environment: &Environment) -> Result<Option<Self>, Error> {
        let endpoint = ENDPOINT.read(environment)?;
        PROTOCOL.require(environment)?;
        let ratio = SAMPLER_ARG.require(environment)?;
        let headers = HEADERS.read(environment)?.unwrap_or_default();
        let authorities = CERTIFICATE.read(environment)?;
        let service = SERVICE_NAME.require(environment)?;
        let attributes = RESOURCE_ATTRIBUTES.read(environment)?.unwrap_or_default();
        let sampler = SAMPLER.require(environment)?.sampler(ratio);
        Ok(endpoint.map(|endpoint| Self { endpoint, headers, authorities, service, attributes, sampler }))
    }
}

/// The kinds of samplers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    parent_based: bool,
    root: Root,
}

#[derive(Clone, Copy, Debug)]
enum Root {
    On,
    Off,
    Ratio,
}

impl Kind {
    fn sampler(self, ratio: f64) -> Sampler {
        let root = match self.root {
            Root::On => Sampler::AlwaysOn,
            Root::Off => Sampler::AlwaysOff,
            Root::Ratio => Sampler::TraceIdRatioBased(ratio),
        };
        if self.parent_based { Sampler::ParentBased(Box::new(root)) } else { root }
    }
}

fn kind(value: &str) -> Option<Kind> {
    let (parent_based, name) = value.strip_prefix("parentbased_").map_or((false, value), |name| (true, name));
    let root = match name {
        "always_on" => Root::On,
        "always_off" => Root::Off,
        "traceidratio" => Root::Ratio,
        _ => return None,
    };
    Some(Kind { parent_based, root })
}

fn endpoint(value: &str) -> Option<String> {
    let uri: Uri = value.parse().ok()?;
    let good = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    (good && uri.query().is_none()).then(|| format!("{}/v1/traces", value.trim_end_matches('/')))
}

fn pairs(value: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok().and_then(|value| text(&value))?;
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), value))
    };
    value.split(',').map(pair).collect()
}

fn headers(value: &str) -> Option<Vec<(String, String)>> {
    let good = |(name, value): &(String, String)| {
        HeaderName::try_from(name.as_str()).is_ok() && HeaderValue::try_from(value.as_str()).is_ok()
    };
    pairs(value).filter(|pairs| pairs.iter().all(good))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<TraceConfig>, String> {
        TraceConfig::read(&pairs.iter().copied().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_an_endpoint_there_are_no_traces() {
        assert!(read(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "always_on")]).unwrap().is_none());
    }

    #[test]
    fn with_an_endpoint_there_are() {
        let set = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20QQ%3D%3D, x-a=1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=a%2Cb,team=web"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ];
        let config = read(&set).unwrap().unwrap();
        assert_eq!((config.endpoint.as_str(), config.service.as_str()), ("http://collector:4318/v1/traces", "webapp"));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(config.headers, [pair("authorization", "Basic QQ=="), pair("x-a", "1")]);
        assert_eq!(config.attributes, [pair("deployment.environment", "a,b"), pair("team", "web")]);
        assert_eq!(format!("{:?}", config.sampler), "ParentBased(TraceIdRatioBased(0.25))");
    }

    #[rstest]
    #[case(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "collector:4318",
        r#"is "collector:4318": give the http:// or https:// address"#
    )]
    #[case("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector", r#"is "grpc://collector": give"#)]
    #[case("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b", r#"is "http://a b": give"#)]
    #[case("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", r#"is "grpc": give http/protobuf"#)]
    #[case("OTEL_EXPORTER_OTLP_HEADERS", "secret", "is not allowed: give name=value")]
    #[case("OTEL_EXPORTER_OTLP_HEADERS", "a b=c", "is not allowed: give name=value")]
    #[case("OTEL_EXPORTER_OTLP_HEADERS", "a=%0A", "is not allowed: give name=value")]
    #[case("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent", r#"is "/nonexistent": give the path"#)]
    #[case("OTEL_RESOURCE_ATTRIBUTES", "=x", r#"is "=x": give name=value"#)]
    #[case("OTEL_TRACES_SAMPLER", "jaeger_remote", r#"is "jaeger_remote": give always_on, "#)]
    #[case("OTEL_TRACES_SAMPLER_ARG", "1.5", r#"is "1.5": give a number from 0 to 1"#)]
    #[case("OTEL_TRACES_SAMPLER_ARG", "NaN", r#"is "NaN": give a number from 0 to 1"#)]
    fn a_bad_value_is_refused_by_name(#[case] name: &str, #[case] value: &str, #[case] message: &str) {
        let error = read(&[(name, value)]).err().unwrap();
        assert!(error.starts_with(&format!("{name} {message}")), "{error}");
    }
}
