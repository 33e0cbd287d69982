package simulate

import (
	"cmp"
	"os"
	"slices"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Step is one line of a script: at some time after the fleet became ready, a
// fault strikes some devices.
type Step struct {
	At time.Duration
	// Device selects as Fleet.FaultAll does: an id, a pattern such as
	// "access-*", or "class:switch".
	Device string
	Fault  Fault
}

// Script is a story of faults, in the order of their times.
type Script []Step

// scriptLine is a step as it is written:
//
//   - {at: 20s, device: core-1, fault: down}
//   - {at: 30s, class: vm, fault: slow 2s}
type scriptLine struct {
	At     time.Duration `yaml:"at"`
	Device string        `yaml:"device"`
	Class  string        `yaml:"class"`
	Fault  conf.Node     `yaml:"fault"`
}

// LoadScript reads a script from a file.
func LoadScript(path string) (Script, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseScript(path, data)
}

// ParseScript reads a script; file names it in errors. The error, if any, holds
// every mistake with its line and column.
func ParseScript(file string, data []byte) (Script, error) {
	docs, problems := conf.ParseRaw(file, data)
	var script Script
	for _, doc := range docs {
		for _, item := range doc.Items() {
			step, wrong := readStep(item)
			problems = append(problems, wrong...)
			script = append(script, step)
		}
		if doc.Kind() != conf.List && doc.Kind() != conf.Null {
			problems = append(problems, doc.Problem("a script is a list", "write lines such as - {at: 20s, device: core-1, fault: down}"))
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(script, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return script, nil
}

func readStep(item conf.Node) (Step, conf.Problems) {
	var line scriptLine
	problems := item.Into(&line)
	if len(problems) > 0 {
		return Step{}, problems
	}
	step := Step{At: line.At, Device: line.Device}
	switch {
	case line.Device == "" && line.Class == "":
		problems = append(problems, item.Problem("the step names no device", "add device: core-1, device: access-* or class: switch"))
	case line.Device != "" && line.Class != "":
		problems = append(problems, item.Problem("the step has both a device and a class", "keep one of the two"))
	case line.Class != "":
		if _, err := ParseClass(line.Class); err != nil {
			problems = append(problems, item.Get("class").Problem(err.Error(), ""))
		}
		step.Device = "class:" + line.Class
	}
	if line.At < 0 {
		problems = append(problems, item.Get("at").Problem("the step lies before the start", "use 0s or more"))
	}
	var err error
	if step.Fault, err = ParseFault(line.Fault.Text()); err != nil {
		at := line.Fault
		if at.IsZero() {
			at = item
		}
		problems = append(problems, at.Problem(err.Error(), ""))
	}
	return step, problems
}
