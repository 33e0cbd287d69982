package conf_test

import (
	"fmt"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Check is what a plug-in's configuration looks like: defaults, fields, and a judgement of its own.
type Check struct {
	Every time.Duration `yaml:"every"`
	Path  string        `yaml:"path"`
	Token conf.Secret   `yaml:"token"`
}

func (c *Check) SetDefaults() { c.Every = time.Minute }

func (c *Check) Validate() []conf.Complaint {
	if c.Path == "" {
		return []conf.Complaint{{Field: "path", What: "a check needs a path", Do: "write path: /health"}}
	}
	return nil
}

func ExampleNode_Into() {
	var c struct {
		Checks []Check `yaml:"checks"`
	}
	nodes, problems := conf.Parse("kemi.yaml", []byte(`
checks:
  - path: /health
    token: letmein
  - every: 10
  - {pahte: /}
`))
	problems = append(problems, nodes[0].Into(&c)...)
	fmt.Println(problems.Err())
	fmt.Println(c.Checks[0])
	// Output:
	// kemi.yaml:5:5: a check needs a path: write path: /health
	// kemi.yaml:5:12: expected a duration for "every", got the number 10: add a unit, like "10s"
	// kemi.yaml:6:6: unknown key "pahte": did you mean "path"?
	// {1m0s /health <secret>}
}
