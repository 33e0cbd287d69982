// Package snmp polls devices that speak SNMP v2c.
//
// In: Jobs of kind snmp with a profile and the name of a credential. Out: their Readings: one table of scalars for each
// profile that has any, and the tables of the profile, with raw counters.
// It promises truthful walks: an error status is an error, a table that was cut short is partial, object identifiers
// that do not increase stop a column, an answer counts only when it comes from the target with the id of the request.
// All targets share a socket for each address family; an idle target costs neither a goroutine nor a socket.
// It never publishes rates and never shows a community.
//
// # Profiles
//
// A profile is a YAML file; its name is that of the file. Shipped ones are in the folder profiles; those in the user's
// own folder may extend and replace them.
//
//	help: One sentence for people.
//	extends: system                  # takes all scalars and tables of another profile
//	scalars:                         # objects with one instance; they form a table with the profile's name
//	  - {name: sysUpTime, oid: 1.3.6.1.2.1.1.3.0, kind: gauge, unit: seconds, scale: 0.01}
//	tables:
//	  - name: interfaces             # a table of the same name replaces that of the extended profile
//	    max_rows: 10000              # the default; a table with more rows is partial
//	    labels:
//	      - {name: ifIndex}          # without oid: the index of the row; every table needs one
//	      - {name: ifName, oid: 1.3.6.1.2.1.31.1.1.1.1, else: 1.3.6.1.2.1.2.2.1.2}
//	                                 # where oid is empty, else is read; where that is empty too, the index is taken
//	      - {name: ifAlias, oid: 1.3.6.1.2.1.31.1.1.1.18, optional: true}   # may stay empty
//	    columns:
//	      - {name: ifHCInOctets, oid: 1.3.6.1.2.1.31.1.1.1.6, kind: counter, unit: bytes}
//	      - {name: ifOperStatus, oid: 1.3.6.1.2.1.2.2.1.8, kind: gauge, enum: {1: up, 2: down}}
//
// The kinds are counter (raw, never scaled), gauge (a number; text that is a number counts) and text. The name of a
// column is that of the MIB object and of the metric. What a device does not have is left out of the Reading.
package snmp

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/collector/profile"
	"kemi.dev/kemi/internal/conf"
)

// DefaultProfile is that of checks that name none.
const DefaultProfile = "interfaces"

// Poller polls SNMP targets.
type Poller struct {
	credentials map[string]Config
	profiles    profiles
	transport   *transport
	memories    memories
}

// New makes a poller; it opens nothing before the first poll.
func New(s poller.Setup) (*Poller, conf.Problems) {
	set, problems := loadProfiles(s.Profiles)
	p := &Poller{credentials: map[string]Config{}, profiles: set, transport: newTransport(s.Scope)}
	for _, name := range slices.Sorted(maps.Keys(s.Credentials)) {
		c := Default()
		problems = append(problems, s.Credentials[name].Into(&c)...)
		p.credentials[name] = c
	}
	return p, problems
}

// Close implements poller.Closer.
func (p *Poller) Close() error { return p.transport.close() }

// Profile implements poller.Profiled.
func (p *Poller) Profile(name string) error {
	if name == "" || p.profiles[name] != nil {
		return nil
	}
	known := slices.Sorted(maps.Keys(p.profiles))
	if near := conf.Nearest(name, known); near != "" {
		return fmt.Errorf("there is no SNMP profile %q: did you mean %q?", name, near)
	}
	return fmt.Errorf("there is no SNMP profile %q: the profiles are %s", name, strings.Join(known, ", "))
}

// Profiles implements poller.Profiled.
func (p *Poller) Profiles() []profile.Profile { return p.profiles.public() }

// Poll implements poller.Poller.
func (p *Poller) Poll(ctx context.Context, job *event.Job) *event.Reading {
	r := event.ReadingFor(job)
	r.Started = time.Now()
	if f := p.poll(ctx, job, r); f != nil {
		r.Status, r.Message, r.Tables = f.status, f.text, nil
	}
	r.Duration = time.Since(r.Started)
	return r
}

func (p *Poller) poll(ctx context.Context, job *event.Job, r *event.Reading) *failure {
	c, pl, f := p.settings(job)
	if f != nil {
		return f
	}
	key := memoryKey{job.Target, job.Check, job.Address}
	m := p.memories.take(key)
	defer func() { p.memories.put(key, m, r.Started) }()
	m.prepare(pl, &c, r.Started)
	addr, f := resolve(ctx, m, job.Address, c.Port, r.Started)
	if f != nil {
		return f
	}
	x := p.transport.exchange(addr, &c)
	defer x.close()
	s := session{x: x, m: m, plan: pl, now: r.Started, fresh: job.Cause == event.CauseManual}
	if poller.Probing(ctx) {
		x.retries, s.probing = 0, true
		s.retries = c.Retries
	}
	return s.read(ctx, r)
}

// settings finds how and what to read for a job.
func (p *Poller) settings(job *event.Job) (Config, *plan, *failure) {
	broken := func(format string, args ...any) *failure {
		return &failure{event.StatusError, fmt.Sprintf(format, args...)}
	}
	c, known := p.credentials[job.Credential]
	switch {
	case job.Credential == "":
		return c, nil, broken("the check names no credential: add credential: NAME to it")
	case !known:
		return c, nil, broken("this poller knows no SNMP credential %q", job.Credential)
	}
	if len(job.Spec) > 0 {
		var s Spec
		if err := json.Unmarshal(job.Spec, &s); err != nil {
			return c, nil, broken("read the job's settings: %v", err)
		}
		s.apply(&c)
	}
	name := job.Profile
	if name == "" {
		name = DefaultProfile
	}
	pl := p.profiles[name]
	if pl == nil {
		return c, nil, broken("%v", p.Profile(name))
	}
	return c, pl, nil
}
