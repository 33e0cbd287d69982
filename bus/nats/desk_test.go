package nats

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/driver"
)

// Members that see the same have plans that fit: every free partition is claimed once, nobody gives and takes at a time,
// and after all plans are carried out everybody has equally many, and nothing more is planned.
func TestPlansFitTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var members []string
		for i := range rapid.IntRange(1, 9).Draw(t, "members") {
			members = append(members, fmt.Sprint("m", i))
		}
		owners := make([]string, rapid.IntRange(1, 40).Draw(t, "partitions"))
		for p := range owners {
			owners[p] = rapid.SampledFrom(append([]string{"", ""}, members...)).Draw(t, "owner")
		}
		// Giving and taking alternate, as yields become free for others.
		for range 4 {
			next := slices.Clone(owners)
			claimed := map[int]string{}
			for _, m := range members {
				claim, yield := plan(m, owners, members)
				if len(claim) > 0 && len(yield) > 0 {
					t.Fatalf("%s takes %v and gives %v", m, claim, yield)
				}
				for _, p := range claim {
					if owners[p] != "" || claimed[p] != "" {
						t.Fatalf("%s takes %d of %q, also taken by %q", m, p, owners[p], claimed[p])
					}
					claimed[p], next[p] = m, m
				}
				for _, p := range yield {
					if owners[p] != m {
						t.Fatalf("%s gives %d of %q", m, p, owners[p])
					}
					next[p] = ""
				}
			}
			for p, o := range owners {
				if o == "" && claimed[p] == "" {
					t.Fatalf("nobody takes %d", p)
				}
			}
			owners = next
		}
		count := map[string]int{}
		for _, o := range owners {
			count[o]++
		}
		for _, m := range members {
			if n := count[m]; n < len(owners)/len(members) || n > (len(owners)+len(members)-1)/len(members) {
				t.Fatalf("%s has %d of %d with %d members", m, n, len(owners), len(members))
			}
			if claim, yield := plan(m, owners, members); len(claim)+len(yield) > 0 {
				t.Fatalf("%s still wants to take %v and give %v", m, claim, yield)
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "a", ".", "=", "=41", "\x00\xff", "core-1/ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tok := token(s)
		if tok == "" || strings.ContainsAny(tok, ".*> \t\r\n/\\") {
			t.Fatalf("%q is no token", tok)
		}
		if back, err := untoken(tok); err != nil || back != s {
			t.Fatalf("%q became %q, then %q (%v)", s, tok, back, err)
		}
		_, _ = untoken(s) // Whatever others wrote.
		if strings.IndexByte(s, 0) < 0 {
			e := escape(s)
			if back := unescape(e); back != s {
				t.Fatalf("%q became %q, then %q", s, e, back)
			}
			if strings.ContainsAny(e, "\r\n") || e != strings.TrimSpace(e) && strings.Trim(e, " ") != e {
				t.Fatalf("%q cannot be a header's value", e)
			}
		}
		_ = unescape(s)
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("kemi.things.v1.p0.k", "Kemi-Removed", "1", []byte(nil))
	f.Add("kemi.things.v1.p1.=2E", "Nats-Msg-Id", "%41", []byte("v"))
	f.Add("kemi.things.v1.p2.k", "X", "%", []byte("v"))
	f.Add("kemi.things.v1.p0", "Kemi-Epoch", "", []byte("v"))
	topic := (&Driver{config: Config{Prefix: "kemi"}}).named(topicThings, nil, process)
	f.Fuzz(func(t *testing.T, subject, name, value string, data []byte) {
		r, err := topic.decode(&nats.Msg{Subject: subject, Data: data, Header: nats.Header{name: {value}}})
		if err != nil {
			return
		}
		if r.Partition < 0 || r.Partition >= topic.Partitions || r.Topic != topic.Name || len(r.Value) != len(data) {
			t.Fatalf("got %+v", r)
		}
	})
}

// What a record brings, NATS and the driver's own headers do not change.
func TestRecordsSurviveTheWire(t *testing.T) {
	log := (&Driver{config: Config{Prefix: "kemi"}}).named(topicThings, nil, process)
	latest := *log
	latest.Kind = driver.Latest
	rapid.Check(t, func(t *rapid.T) {
		topic := rapid.SampledFrom([]*topic{log, &latest}).Draw(t, "topic")
		r := driver.Record{
			Topic: topicThings.Name, Partition: rapid.IntRange(0, 1).Draw(t, "partition"),
			Key: rapid.StringMatching(`[^\x00]{0,40}`).Draw(t, "key"), ID: rapid.String().Draw(t, "id"),
		}
		if rapid.Bool().Draw(t, "value") {
			r.Value = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
			if r.Value == nil {
				r.Value = []byte{}
			}
		}
		for range rapid.IntRange(0, 4).Draw(t, "headers") {
			r.Headers = append(r.Headers, driver.Header{
				Name:  rapid.SampledFrom([]string{"a", "Status", "Nats-Rollup", "nats-ttl", "Kemi-Removed", "Kemi-Epoch", "Kemi-Id", "Kemi-Header-x", "kemi-word"}).Draw(t, "name"),
				Value: rapid.String().Draw(t, "header"),
			})
		}
		m, err := topic.encode(&r, &driver.Fence{Topic: "t", Group: "g", Epoch: 7}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for name := range m.Header {
			if isNats(name) && (name != headerID || topic.Kind == driver.Latest) {
				t.Fatalf("header %s would mean something to NATS", name)
			}
		}
		got, err := topic.decode(m)
		if err != nil {
			t.Fatal(err)
		}
		byName := func(a, b driver.Header) int { return strings.Compare(a.Name, b.Name) }
		slices.SortStableFunc(r.Headers, byName)
		if got.Key != r.Key || got.ID != r.ID || got.Partition != r.Partition || string(got.Value) != string(r.Value) ||
			(got.Value == nil) != (r.Value == nil) || !slices.Equal(got.Headers, r.Headers) {
			t.Fatalf("got %+v, want %+v", got, r)
		}
	})
}
