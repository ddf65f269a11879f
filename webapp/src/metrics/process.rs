//! What the kernel knows of this process, under the names that Prometheus' own clients use. Read at each scrape; a
//! figure that cannot be read is left out.

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Writes the process's figures.
#[derive(Debug)]
pub(super) struct ProcessCollector;

/// The figures, in seconds and bytes.
struct Figures {
    cpu: f64,
    start: f64,
    resident: u64,
    virtual_memory: u64,
    threads: i64,
    open_files: i64,
    /// `None` is no limit.
    max_files: Option<u64>,
}

impl Figures {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        // Ticks fit into the 52 bits of a float for millions of years.
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        Ok(Self {
            cpu: seconds(stat.utime + stat.stime),
            start: procfs::boot_time_secs()? as f64 + seconds(stat.starttime),
            resident: stat.rss_bytes().get(),
            virtual_memory: stat.vsize,
            threads: stat.num_threads,
            open_files: i64::try_from(process.fd_count()?).unwrap_or(i64::MAX),
            max_files: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(files) => Some(files),
                LimitValue::Unlimited => None,
            },
        })
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Ok(figures) = Figures::read() else { return Ok(()) };
        let mut write = |name: &str, help: &str, unit: Option<&Unit>, metric: &dyn Writable| {
            metric.write(&mut encoder, name, help, unit)
        };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        write("process_cpu", "Processor time that this process has used", seconds, &ConstCounter::new(figures.cpu))?;
        write("process_start_time", "When it started, since 1970", seconds, &ConstGauge::new(figures.start))?;
        write("process_resident_memory", "Memory that it holds", bytes, &ConstGauge::new(figures.resident))?;
        write(
            "process_virtual_memory",
            "Addresses that it has mapped",
            bytes,
            &ConstGauge::new(figures.virtual_memory),
        )?;
        write("process_threads", "Its threads", None, &ConstGauge::new(figures.threads))?;
        write(
            "process_open_fds",
            "Files and connections that it has open",
            None,
            &ConstGauge::new(figures.open_files),
        )?;
        if let Some(files) = figures.max_files {
            write("process_max_fds", "The most that it may have open", None, &ConstGauge::new(files))?;
        }
        Ok(())
    }
}

/// A metric of any kind, written under its name.
trait Writable {
    fn write(&self, encoder: &mut DescriptorEncoder, name: &str, help: &str, unit: Option<&Unit>) -> std::fmt::Result;
}

impl<M: EncodeMetric> Writable for M {
    fn write(&self, encoder: &mut DescriptorEncoder, name: &str, help: &str, unit: Option<&Unit>) -> std::fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, unit, self.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_figures() {
        let figures = Figures::read().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(
            (0.0..86_400.0).contains(&(now - figures.start)),
            "{} started in the future or long ago",
            figures.start
        );
        assert!(figures.cpu >= 0.0 && figures.resident > 100_000 && figures.virtual_memory > figures.resident);
        assert!(figures.threads > 0 && figures.open_files > 2);
    }
}
