package dashboards

import (
	"strings"

	"kemi.dev/kemi/collector/profile"
)

// isOctets reports whether a column counts bytes on a wire, which people compare with bits per second.
func isOctets(c profile.Column) bool {
	return c.Kind == kindCounter && (strings.Contains(c.Name, "Octets") || strings.Contains(c.Name, "octets"))
}

// factor turns the rate of a counter into the unit of unitOf.
func factor(c profile.Column) string {
	if isOctets(c) {
		return " * 8"
	}
	return ""
}

// perSecond shows small rates as they are, where Grafana's own units would write thousandths.
const perSecond = "suffix: /s"

// unitOf is Grafana's name of the unit that a column is drawn in: of the rate when it is a counter.
func unitOf(c profile.Column) string {
	if c.Kind == kindCounter {
		switch {
		case isOctets(c):
			return "bps"
		case c.Unit == "bytes":
			return "Bps"
		case c.Unit == "packets" && (strings.Contains(c.Name, "Pkts") || strings.Contains(c.Name, "ackets")):
			return "pps"
		case c.Unit == "packets": // Errors and discards: few, and thousandths of a packet look odd.
			return perSecond
		case c.Unit == "seconds":
			return "percentunit" // Seconds spent per second.
		case c.Unit == "":
			return perSecond
		}
		return "suffix: " + strings.ReplaceAll(c.Unit, "_", " ") + "/s"
	}
	switch c.Unit {
	case "":
		return "short"
	case "bytes":
		return "bytes"
	case "seconds":
		return "s"
	case "ratio":
		return "percentunit"
	case "percent", "celsius":
		return c.Unit
	case "bits_per_second":
		return "bps"
	case "megabits_per_second":
		return "Mbits"
	case "bytes_per_second":
		return "Bps"
	case "volts":
		return "volt"
	case "amperes":
		return "amp"
	case "watts":
		return "watt"
	case "hertz":
		return "rothz"
	case "decibel_milliwatts":
		return "dBm"
	case "rpm", "revolutions_per_minute":
		return "rotrpm"
	}
	return "suffix: " + strings.ReplaceAll(c.Unit, "_", " ")
}

// bitsPerSecond is what a speed column is multiplied by to be in bits per second; empty when the unit is no speed.
func bitsPerSecond(unit string) string {
	switch unit {
	case "bits_per_second":
		return " * 1"
	case "megabits_per_second":
		return " * 1e6"
	case "gigabits_per_second":
		return " * 1e9"
	}
	return ""
}
