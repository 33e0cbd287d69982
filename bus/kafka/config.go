package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/scram"

	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

// Config says which brokers to use, and as whom.
type Config struct {
	// At is where it stands in the configuration; the paths in it are relative to that file's folder.
	At conf.Pos
	// Brokers to begin with, host:port each; the others are learned from them.
	Brokers []string `yaml:"brokers"`
	// ClientID names this Kemi to the brokers, in their logs and quotas; "" is kemi.
	ClientID string `yaml:"client_id"`
	// Rack is where this process is: brokers that know of racks name a replica near it to read from. "" is nowhere.
	Rack string `yaml:"rack"`
	// Prefix begins the names of all topics, groups and transactions; "" is kemi.
	Prefix string `yaml:"prefix"`
	// Replicas of topics that are made; 0 is as many as there are brokers, up to 3.
	Replicas int `yaml:"replicas"`
	// MinInSync is how many replicas must have a record before it is stored, of topics that are made; 0 is 2 where there are
	// three replicas or more, else as the brokers have it.
	MinInSync int `yaml:"min_insync"`
	// TLS, even empty, encrypts every connection.
	TLS  *certs.Client `yaml:"tls"`
	SASL SASL          `yaml:"sasl"`
}

// SASL says who this client is; the zero SASL is nobody.
type SASL struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512.
	Mechanism string      `yaml:"mechanism"`
	User      string      `yaml:"user"`
	Password  conf.Secret `yaml:"password"`
}

var (
	mechanisms = []string{"plain", "scram-sha-256", "scram-sha-512"}
	prefixes   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
)

// maxPrefix leaves room for names of topics: Kafka takes 249 characters.
const maxPrefix = 100

// Validate implements conf.Validator; what TLS names judges itself.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	say := func(field, what, do string) { all = append(all, conf.Complaint{Field: field, What: what, Do: do}) }
	if len(c.Brokers) == 0 {
		say("brokers", "no broker is named", "name at least one, such as kafka-1.example.org:9092")
	}
	for i, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || bad != nil || n == 0 || strings.ContainsAny(b, "/@ ") {
			say("brokers."+strconv.Itoa(i), fmt.Sprintf("the broker %q is not host:port", b), "write it without a scheme, such as kafka-1.example.org:9092")
		}
	}
	if c.Prefix != "" && (!prefixes.MatchString(c.Prefix) || len(c.Prefix) > maxPrefix) {
		say("prefix", fmt.Sprintf("the prefix %q cannot begin the names of topics", c.Prefix), "use letters, digits, _ and -, at most "+strconv.Itoa(maxPrefix))
	}
	if c.Replicas < 0 || c.Replicas > 32 {
		say("replicas", fmt.Sprintf("%d replicas are not possible", c.Replicas), "use 1 to 32, or leave it out for as many as the brokers allow, up to 3")
	}
	switch {
	case c.MinInSync < 0 || c.MinInSync > 32:
		say("min_insync", fmt.Sprintf("%d replicas in sync are not possible", c.MinInSync), "use a number from 1 to that of the replicas")
	case c.Replicas > 0 && c.MinInSync > c.Replicas:
		say("min_insync", fmt.Sprintf("%d replicas in sync of %d would refuse every record", c.MinInSync, c.Replicas), "use less than replicas: 2 of 3 go on without one broker")
	}
	return append(all, c.SASL.complaints()...)
}

func (s SASL) complaints() []conf.Complaint {
	given := s.User != "" || !s.Password.IsZero()
	switch {
	case s.Mechanism == "" && !given:
		return nil
	case !slices.Contains(mechanisms, s.Mechanism):
		return []conf.Complaint{{Field: "sasl.mechanism", What: fmt.Sprintf("there is no mechanism %q", s.Mechanism), Do: "use " + strings.Join(mechanisms, ", ") + ", as the brokers have it"}}
	case s.User == "":
		return []conf.Complaint{{Field: "sasl.user", What: "the user is missing", Do: "name the user that the brokers know"}}
	case s.Password.IsZero():
		return []conf.Complaint{{Field: "sasl.password", What: "the password is missing", Do: "give password_file, or password"}}
	}
	return nil
}

// complete checks the configuration and fills in its defaults.
func (c *Config) complete() error {
	var all []error
	complaints := c.Validate()
	if c.TLS != nil {
		complaints = append(complaints, c.TLS.Validate()...)
	}
	for _, p := range complaints {
		all = append(all, fmt.Errorf("kafka: %s: %s", p.What, p.Do))
	}
	if c.ClientID == "" {
		c.ClientID = "kemi"
	}
	if c.Prefix == "" {
		c.Prefix = "kemi"
	}
	return errors.Join(all...)
}

// mechanism is nil for nobody.
func (s SASL) mechanism() sasl.Mechanism {
	switch s.Mechanism {
	case "":
		return nil
	case "plain":
		return identity{name: "PLAIN", sasl: s}
	case "scram-sha-256":
		return identity{name: scram.SHA256.Name(), sasl: s, algorithm: scram.SHA256}
	}
	return identity{name: scram.SHA512.Name(), sasl: s, algorithm: scram.SHA512}
}

// identity says who we are with the password as it is now: its file may have been read again.
type identity struct {
	name      string
	sasl      SASL
	algorithm scram.Algorithm // Nil for PLAIN.
}

// Name implements sasl.Mechanism.
func (i identity) Name() string { return i.name }

// Start implements sasl.Mechanism.
func (i identity) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	if i.algorithm == nil {
		return spoken{}, []byte("\x00" + i.sasl.User + "\x00" + i.sasl.Password.Reveal()), nil
	}
	m, err := scram.Mechanism(i.algorithm, i.sasl.User, i.sasl.Password.Reveal())
	if err != nil {
		return nil, nil, errors.New("the user or the password has characters that SCRAM does not take")
	}
	return m.Start(ctx)
}

// spoken is PLAIN after its only message. Source: RFC 4616.
type spoken struct{}

// Next implements sasl.StateMachine.
func (spoken) Next(context.Context, []byte) (bool, []byte, error) { return true, nil, nil }
