package nats

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/pause"
)

// Ensure implements driver.Driver. What differs and can be lived with is logged, with the command that changes it.
func (d *Driver) Ensure(ctx context.Context, topics []driver.Topic) error {
	ctx, cancel, err := d.ready(ctx)
	defer cancel()
	if err != nil {
		return fmt.Errorf("ensure topics: %w", err)
	}
	err = driver.EnsureEach(topics, func(want driver.Topic) error {
		if err := d.ensure(ctx, want); err != nil {
			return err
		}
		d.mu.Lock()
		d.wanted[want.Name] = want
		d.mu.Unlock()
		return nil
	})
	if err != nil {
		return err
	}
	d.foresee(topics)
	return d.rehearse(ctx, topics)
}

func (d *Driver) ensure(ctx context.Context, want driver.Topic) error {
	if want.Name == "" || want.Partitions < 1 {
		return fmt.Errorf("a topic needs a name and at least one partition, got %d", want.Partitions)
	}
	have, err := d.find(ctx, want.Name)
	if errors.Is(err, driver.ErrNoTopic) {
		have, err = d.create(ctx, want)
	}
	if err != nil {
		return err
	}
	c := have.handle.CachedInfo().Config
	if alike := want; alike.Sync != have.Sync {
		alike.Sync = have.Sync
		if say(alike) == say(have.Topic) {
			return driver.Differs(d.redurable(want, have))
		}
	}
	if breaks := breaks(want, have.Topic, d.streamConfig(d.named(want, have.link, have.at)), c); len(breaks) > 0 {
		return driver.Differs(fmt.Errorf("stream %s: %s: configure the stream so (nats stream edit %s) where the server allows it, or give Kemi another prefix (it is %q now); only what it holds and nobody needs is removed with it (nats stream rm), while no Kemi of this prefix runs", have.stream, strings.Join(breaks, "; "), have.stream, d.config.Prefix))
	}
	for _, x := range differences(d.streamConfig(d.named(want, have.link, have.at)), c) {
		// The topic works all the same. It is its owner's to change.
		d.scope.Log().Warn("a stream differs from what it should be", "topic", want.Name, "stream", have.stream,
			"setting", x.setting, "wanted", x.wanted, "found", x.found, "change", d.command(have, x.flag))
	}
	d.know(have)
	return nil
}

// create makes the stream of a topic; when another was faster, it is that one's.
func (d *Driver) create(ctx context.Context, want driver.Topic) (*topic, error) {
	at := process
	if want.Sync && d.host != nil {
		at = power
	}
	t := d.named(want, d.links[at], at)
	for tries := 0; ; tries++ {
		var s jetstream.Stream
		err := t.link.call(ctx, t.stream, func(ctx context.Context) (err error) {
			s, err = t.link.js.CreateStream(ctx, d.streamConfig(t))
			return err
		})
		var api *jetstream.APIError
		switch {
		case err == nil:
			t.takes(s)
			return t, nil
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
			return d.find(ctx, want.Name)
		case errors.As(err, &api) && api.ErrorCode == errOverlap:
			subjects := t.before + "*.*"
			if other, err := t.link.js.StreamNameBySubject(ctx, subjects); err == nil {
				return nil, driver.Differs(fmt.Errorf("create stream %s: stream %s, which is another's, takes %s already: change its subjects, or give Kemi another prefix (it is %q now)", t.stream, other, subjects, d.config.Prefix))
			}
		case errors.As(err, &api) && api.ErrorCode == errNoRoom && tries < 5 && pause.For(ctx, tryPeriod):
			// While several processes make it at once the server counts its room for each of them, and once it is there, too.
			if made, err := d.find(ctx, want.Name); err == nil {
				return made, nil
			}
			continue
		}
		return nil, t.link.explain(fmt.Errorf("create stream %s: %w", t.stream, d.put(err)))
	}
}

// errOverlap: another stream takes some of the subjects; errNoRoom: the server has less than the stream may take.
const (
	errOverlap jetstream.ErrorCode = 10065
	errNoRoom  jetstream.ErrorCode = 10047
)

// breaks says what of a stream breaks the contract.
func breaks(want, have driver.Topic, should, c jetstream.StreamConfig) []string {
	var out []string
	if w, h := say(want), say(have); w != h {
		out = append(out, fmt.Sprintf("wanted %s, found %s", w, h))
	}
	wanted := should.Subjects[:want.Partitions]
	if slices.ContainsFunc(wanted, func(subjects string) bool { return !taken(subjects, c.Subjects) }) { // All are named: they are set all at once.
		out = append(out, fmt.Sprintf("wanted subjects %s, found %s", strings.Join(should.Subjects, " "), strings.Join(c.Subjects, " ")))
	}
	if c.Storage != jetstream.FileStorage {
		out = append(out, "wanted file storage, found "+strings.ToLower(c.Storage.String()))
	}
	if c.Retention != jetstream.LimitsPolicy {
		out = append(out, "wanted retention by limits, found "+strings.ToLower(c.Retention.String()))
	}
	if c.NoAck {
		out = append(out, "wanted acknowledgements, found none (no_ack)")
	}
	if c.Sealed {
		out = append(out, "wanted a stream to write to, found a sealed one")
	}
	return out
}

// difference is one that can be lived with, and the flag of nats stream edit that ends it.
type difference struct{ setting, wanted, found, flag string }

// differences compares what a stream should be with what it is.
func differences(should, c jetstream.StreamConfig) []difference {
	var out []difference
	number := func(setting, flag string, wanted, found int64) {
		wanted, found = max(wanted, 0), max(found, 0)
		if wanted != found {
			say := func(n int64) string {
				if n == 0 {
					return "any"
				}
				return strconv.FormatInt(n, 10)
			}
			to := wanted
			if to == 0 {
				to = -1
			}
			out = append(out, difference{setting, say(wanted), say(found), fmt.Sprintf("--%s=%d", flag, to)})
		}
	}
	age := func(setting, flag string, wanted, found time.Duration) {
		if wanted != found {
			out = append(out, difference{setting, wanted.String(), found.String(), "--" + flag + "=" + wanted.String()})
		}
	}
	number("bytes", "max-bytes", should.MaxBytes, c.MaxBytes)
	number("records", "max-msgs", should.MaxMsgs, c.MaxMsgs)
	number("records per key", "max-msgs-per-subject", should.MaxMsgsPerSubject, c.MaxMsgsPerSubject)
	number("bytes of a record", "max-msg-size", int64(should.MaxMsgSize), int64(c.MaxMsgSize))
	age("age", "max-age", should.MaxAge, c.MaxAge)
	age("memory for identities", "dupe-window", should.Duplicates, c.Duplicates)
	if should.Discard != c.Discard {
		words := map[jetstream.DiscardPolicy]string{jetstream.DiscardOld: "old", jetstream.DiscardNew: "new"}
		out = append(out, difference{"what goes when it is full", words[should.Discard], words[c.Discard], "--discard=" + words[should.Discard]})
	}
	if c.Replicas < should.Replicas { // More do no harm.
		out = append(out, difference{"replicas", strconv.Itoa(should.Replicas), strconv.Itoa(c.Replicas), "--replicas=" + strconv.Itoa(should.Replicas)})
	}
	if should.AllowAtomicPublish && !c.AllowAtomicPublish {
		out = append(out, difference{"atomic batches", "allowed", "not allowed", "--allow-batch"})
	}
	for _, s := range should.Subjects {
		if !taken(s, c.Subjects) {
			flags := make([]string, 0, len(c.Subjects)+1)
			for _, s := range append(slices.Clone(c.Subjects), s) {
				flags = append(flags, "--subjects='"+s+"'")
			}
			out = append(out, difference{"subjects", s, "not there", strings.Join(flags, " ")})
		}
	}
	return out
}

// taken says whether one of the patterns has all of a pattern's subjects.
func taken(want string, have []string) bool {
	w := strings.Split(want, ".")
	return slices.ContainsFunc(have, func(pattern string) bool {
		p := strings.Split(pattern, ".")
		for i := range p {
			switch {
			case i >= len(w):
				return false
			case p[i] == ">":
				return true
			case p[i] != w[i] && (p[i] != "*" || w[i] == ">"):
				return false
			}
		}
		return len(p) == len(w)
	})
}

// command is how a stream is changed. An embedded server nobody else reaches, so it needs one on its files meanwhile.
func (d *Driver) command(t *topic, flag string) string {
	edit := "nats stream edit " + t.stream + " " + flag
	if d.host == nil {
		return edit
	}
	return fmt.Sprintf("stop kemi, run nats-server -js -sd %s meanwhile, and %s", filepath.Join(d.host.dir, folders[t.at]), edit)
}

// say describes what of a topic cannot be changed.
func say(t driver.Topic) string {
	s := fmt.Sprintf("kind %s with %d partitions", kinds[t.Kind], t.Partitions)
	if t.Kind == driver.Latest && t.Keep == 0 {
		s += " kept for ever"
	}
	if t.Sync {
		s += " synced"
	}
	return s
}
