package simulate

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// FaultKind names what is wrong with a device.
type FaultKind string

// The faults a device can be given.
const (
	Clear       FaultKind = "clear"        // everything is well again
	Down        FaultKind = "down"         // silence; a service refuses connections
	Slow        FaultKind = "slow"         // answers come Duration later
	Reboot      FaultKind = "reboot"       // uptime and counters restart; silent for Duration
	Flap        FaultKind = "flap"         // down for the first half of every Duration
	CounterWrap FaultKind = "counter wrap" // 32-bit counters jump close below 2^32
	Lossy       FaultKind = "lossy"        // Percent of the answers are lost
	PortDown    FaultKind = "port down"    // interface Port is operationally down
	PortUp      FaultKind = "port up"      // interface Port is well again
	PortFlap    FaultKind = "port flap"    // interface Port is down for the first half of every Duration
	Garbage     FaultKind = "garbage"      // answers are random bytes
	Truncated   FaultKind = "truncated"    // answers are cut
	WrongID     FaultKind = "wrong-id"     // answers carry the id of an older request
	Stranger    FaultKind = "stranger"     // answers come from another address
	Unhealthy   FaultKind = "unhealthy"    // a service answers 503
)

// Fault is one change to a device: something breaks, or everything is cleared.
type Fault struct {
	Kind     FaultKind
	Duration time.Duration
	Percent  float64
	Port     int // interface number, from 1
}

const (
	rebootSilence = 5 * time.Second // how long a reboot takes when it does not say
	shortestFlap  = 100 * time.Millisecond
	longestFault  = 24 * time.Hour
)

const faultAdvice = `use one of: down, clear, slow 2s, reboot, reboot 10s, flap 5s, counter wrap, lossy 10%, ` +
	`port 3 down, port 3 up, port 3 flap 10s, garbage, truncated, wrong-id, stranger, unhealthy`

// ParseFault reads a fault as scripts and the HTTP control write it, such as
// "down", "slow 2s", "lossy 10%" or "port 3 down".
func ParseFault(s string) (Fault, error) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return Fault{}, fmt.Errorf("empty fault: %s", faultAdvice)
	}
	if words[0] == "port" || words[0] == "interface" {
		return parsePortFault(s, words[1:])
	}
	name, args := words[0], words[1:]
	if name == "counter" && len(args) > 0 && args[0] == "wrap" {
		name, args = string(CounterWrap), args[1:]
	}
	if name == "up" {
		name = string(Clear)
	}
	f := Fault{Kind: FaultKind(name)}
	wants := 0
	switch f.Kind {
	case Down, Clear, CounterWrap, Garbage, Truncated, WrongID, Stranger, Unhealthy:
	case Slow, Flap, Lossy:
		wants = 1
	case Reboot:
		f.Duration = rebootSilence
		wants = min(len(args), 1)
	default:
		if near := conf.Nearest(name, faultWords()); near != "" {
			return Fault{}, fmt.Errorf("unknown fault %q: did you mean %q?", s, near)
		}
		return Fault{}, fmt.Errorf("unknown fault %q: %s", s, faultAdvice)
	}
	if len(args) != wants {
		return Fault{}, fmt.Errorf("fault %q has %d values after %q, not %d: %s", s, len(args), f.Kind, wants, faultAdvice)
	}
	var err error
	if wants == 1 {
		if f.Kind == Lossy {
			f.Percent, err = parsePercent(args[0])
		} else {
			f.Duration, err = parseDuration(args[0])
		}
	}
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", s, err)
	}
	return f, f.validate()
}

// faultWords are the words a fault may begin with.
func faultWords() []string {
	return []string{
		"clear", "counter", "down", "flap", "garbage", "interface", "lossy", "port", "reboot",
		"slow", "stranger", "truncated", "unhealthy", "up", "wrong-id",
	}
}

func parsePortFault(s string, args []string) (Fault, error) {
	if len(args) < 2 {
		return Fault{}, fmt.Errorf("fault %q names no port or no state: write port 3 down", s)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return Fault{}, fmt.Errorf("fault %q: port %q is not a number from 1: write port 3 down", s, args[0])
	}
	f := Fault{Kind: FaultKind("port " + args[1]), Port: n}
	switch {
	case (f.Kind == PortDown || f.Kind == PortUp) && len(args) == 2:
	case f.Kind == PortFlap && len(args) == 3:
		if f.Duration, err = parseDuration(args[2]); err != nil {
			return Fault{}, fmt.Errorf("fault %q: %w", s, err)
		}
	default:
		return Fault{}, fmt.Errorf("fault %q: a port can be: port 3 down, port 3 up, port 3 flap 10s", s)
	}
	return f, f.validate()
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write it as 2s or 500ms", s)
	}
	return d, nil
}

func parsePercent(s string) (float64, error) {
	p, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a percentage: write it as 10%%", s)
	}
	return p, nil
}

// validate checks the ranges of a fault, however it was made.
func (f Fault) validate() error {
	switch f.Kind {
	case Slow, Reboot:
		if f.Duration <= 0 || f.Duration > longestFault {
			return fmt.Errorf("fault %s for %s: use more than 0 and at most %s", f.Kind, f.Duration, longestFault)
		}
	case Flap, PortFlap:
		if f.Duration < shortestFlap || f.Duration > longestFault {
			return fmt.Errorf("fault %s with a period of %s: use %s to %s", f.Kind, f.Duration, shortestFlap, longestFault)
		}
	case Lossy:
		if !(f.Percent > 0 && f.Percent <= 100) { // so that NaN fails, too
			return fmt.Errorf("fault lossy %g%%: use more than 0%% and at most 100%%", f.Percent)
		}
	case Clear, Down, CounterWrap, PortDown, PortUp, Garbage, Truncated, WrongID, Stranger, Unhealthy:
	default:
		return fmt.Errorf("unknown fault %q: %s", f.Kind, faultAdvice)
	}
	switch f.Kind {
	case PortDown, PortUp, PortFlap:
		if f.Port < 1 {
			return fmt.Errorf("fault %s on port %d: ports count from 1", f.Kind, f.Port)
		}
	}
	return nil
}

// fits tells whether device d can have the fault.
func (f Fault) fits(d Device) error {
	if err := f.validate(); err != nil {
		return err
	}
	switch f.Kind {
	case WrongID, Stranger, CounterWrap:
		if !d.Class.SNMP() {
			return fmt.Errorf("%s is a service and has no SNMP agent: fault %q is for the other classes", d.ID, f)
		}
	case PortDown, PortUp, PortFlap:
		if f.Port > d.interfaces() {
			return fmt.Errorf("%s has %d ports: fault %q names one it does not have", d.ID, d.interfaces(), f)
		}
	case Unhealthy:
		if d.Class != Service {
			return fmt.Errorf("%s is a %s: fault unhealthy is for services", d.ID, d.Class)
		}
	}
	return nil
}

// String writes the fault as ParseFault reads it.
func (f Fault) String() string {
	switch f.Kind {
	case Slow, Reboot, Flap:
		return string(f.Kind) + " " + f.Duration.String()
	case Lossy:
		return "lossy " + strconv.FormatFloat(f.Percent, 'f', -1, 64) + "%"
	case PortDown:
		return "port " + strconv.Itoa(f.Port) + " down"
	case PortUp:
		return "port " + strconv.Itoa(f.Port) + " up"
	case PortFlap:
		return "port " + strconv.Itoa(f.Port) + " flap " + f.Duration.String()
	}
	return string(f.Kind)
}
