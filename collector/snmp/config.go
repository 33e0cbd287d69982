package snmp

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Config is a credential: how to talk SNMP with the targets that name it.
type Config struct {
	// Version is "2c".
	Version   string
	Community conf.Secret
	// Timeout is how long one request may take, Retries how often it is sent again.
	Timeout time.Duration
	Retries int
	// MaxRepetitions bounds how many rows one request asks for.
	MaxRepetitions int `yaml:"max_repetitions"`
	// Port is used for addresses that name none.
	Port int
}

// Default returns the settings of a credential that says nothing but its community.
func Default() Config {
	return Config{Version: "2c", Timeout: 2 * time.Second, Retries: 1, MaxRepetitions: 25, Port: 161}
}

// SetDefaults implements conf.Defaulter.
func (c *Config) SetDefaults() { *c = Default() }

const (
	maxTimeout     = time.Minute
	maxRetries     = 10
	maxRepetitions = 1000
	maxCommunity   = 255
)

// Validate implements conf.Validator.
func (c *Config) Validate() (all []conf.Complaint) {
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	switch c.Version {
	case "2c":
		switch n := len(c.Community.Reveal()); {
		case n == 0:
			complain("community", "the community is missing", "give community or community_file")
		case n > maxCommunity:
			complain("community", fmt.Sprintf("the community has %d octets", n), fmt.Sprintf("use at most %d", maxCommunity))
		}
	case "1", "v1", "3", "v3":
		complain("version", fmt.Sprintf("SNMP version %s is not supported yet", strings.TrimPrefix(c.Version, "v")), "use 2c, or leave these targets out for now")
	default:
		complain("version", fmt.Sprintf("there is no SNMP version %q", c.Version), "use 2c")
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > maxTimeout {
		complain("timeout", fmt.Sprintf("a timeout of %s", c.Timeout), "use 10ms to 1m")
	}
	if c.Retries < 0 || c.Retries > maxRetries {
		complain("retries", fmt.Sprintf("%d retries", c.Retries), fmt.Sprintf("use 0 to %d", maxRetries))
	}
	if c.MaxRepetitions < 1 || c.MaxRepetitions > maxRepetitions {
		complain("max_repetitions", fmt.Sprintf("max_repetitions is %d", c.MaxRepetitions), fmt.Sprintf("use 1 to %d", maxRepetitions))
	}
	if c.Port < 1 || c.Port > 65535 {
		complain("port", fmt.Sprintf("there is no port %d", c.Port), "use 1 to 65535")
	}
	return all
}

// Spec is what a check may set differently from its credential; zero values are not set.
type Spec struct {
	Timeout        time.Duration `json:"timeout,omitempty"`
	Retries        *int          `json:"retries,omitempty"`
	MaxRepetitions int           `json:"max_repetitions,omitempty" yaml:"max_repetitions"`
}

// Validate implements conf.Validator.
func (s *Spec) Validate() []conf.Complaint {
	c := Default()
	c.Community = conf.NewSecret("of no matter here")
	s.apply(&c)
	return c.Validate()
}

func (s *Spec) apply(c *Config) {
	if s.Timeout != 0 {
		c.Timeout = s.Timeout
	}
	if s.Retries != nil {
		c.Retries = *s.Retries
	}
	if s.MaxRepetitions != 0 {
		c.MaxRepetitions = s.MaxRepetitions
	}
}

// Spec implements poller.Poller.
func (p *Poller) Spec(n conf.Node) (json.RawMessage, conf.Problems) {
	var s Spec
	if problems := n.Into(&s); len(problems) > 0 || s == (Spec{}) {
		return nil, problems
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, conf.Problems{n.Problem("the settings cannot be kept ("+err.Error()+")", "correct them")}
	}
	return data, nil
}
