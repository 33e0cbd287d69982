package nats

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus/driver"
)

// A server whose machine lost power comes back without the newest records, while Kemi ran elsewhere. Their positions are
// given to other records then: the running owner, the next one and a running replay are to have these all the same, whether
// they are fewer than were lost, so that the stream is seen to be too short, or more.
func TestWhatTakesThePlaceOfLostRecordsIsDelivered(t *testing.T) {
	t.Parallel()
	const kept, lost = 20, 40
	for name, c := range map[string]struct {
		only string // What of the server's disk is older; the buckets may have been written later than the records.
		more int    // Records that are stored before Kemi's readers are back.
	}{
		"everything is older, seen at once": {"", 1},
		"everything is older, seen late":    {"", 2 * lost},
		"records are older, seen at once":   {"kemi_*/msgs", 1},
		"records are older, seen late":      {"kemi_*/msgs", 2 * lost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := external(t, dir, server.RANDOM_PORT)
			d := dialled(t, Config{}, s)
			if err := d.Ensure(t.Context(), ownTopics); err != nil {
				t.Fatal(err)
			}
			say := func(d *Driver, what string, n int) {
				t.Helper()
				for i := range n {
					for _, topic := range ownTopics {
						publish(t, d, topic.Name, fmt.Sprint("k", i%7), fmt.Sprint(what, " ", i))
					}
				}
			}
			log := follow(t, d, driver.Subscription{Topic: "log.v1", Group: "g"})
			keyed := follow(t, d, driver.Subscription{Topic: "latest.v1", Group: "g"})
			tail := follow(t, d, driver.Subscription{Topic: "log.v1"})
			latest := follow(t, d, driver.Subscription{Topic: "latest.v1", Start: driver.Start{Snapshot: true}})
			work := follow(t, d, driver.Subscription{Topic: "work.v1", Group: "g"})
			all := []*reader{log, keyed, tail, latest, work}
			committed := func(n int) {
				t.Helper()
				await(t, "a commit", func() bool {
					e, err := d.groups.Get(t.Context(), "log=2Ev1.g.p0")
					return err == nil && strings.Contains(string(e.Value()), fmt.Sprintf(`"next":%d,"at":`, n+1))
				})
			}
			say(d, "kept", kept)
			for _, f := range all {
				f.value(fmt.Sprint("kept ", kept-1))
			}

			// The disk as it was now is what comes back later.
			port := int(s.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port())
			s.Shutdown()
			s.WaitForShutdown()
			older := t.TempDir()
			if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			s = external(t, dir, port)
			say(d, "lost", lost)
			for _, f := range all {
				f.value(fmt.Sprint("lost ", lost-1))
			}
			committed(kept + lost)
			s.Shutdown()
			s.WaitForShutdown()
			replace(t, dir, older, c.only)

			// Another client is there before this one.
			s = external(t, dir, server.RANDOM_PORT)
			say(dialled(t, Config{}, s), "new", c.more)
			s.Shutdown()
			s.WaitForShutdown()
			external(t, dir, port)
			say(d, "after", 3)
			check := func(f *reader) {
				t.Helper()
				f.value("after 2")
				for i := range c.more {
					f.value(fmt.Sprint("new ", i))
				}
			}
			check(log)
			check(tail)
			check(work)
			for _, f := range []*reader{keyed, latest} { // Older ones of a key may have gone.
				f.value("after 2")
			}
			// What the next owner begins with is what comes from now on.
			committed(kept + c.more + 3)
			log.Close()
			say(d, "next", 1)
			next := follow(t, d, driver.Subscription{Topic: "log.v1", Group: "g"})
			next.value("next 0")
			if len(next.values) != 1 {
				t.Errorf("the next owner had %q", next.values)
			}
		})
	}
}

// replace puts older files in the place of newer: all, or the folders of streams that match.
func replace(t *testing.T, dir, older, only string) {
	t.Helper()
	streams := "jetstream/$G/streams"
	swap := []string{"."}
	if only != "" {
		found, err := filepath.Glob(filepath.Join(older, streams, only))
		if err != nil || len(found) == 0 {
			t.Fatalf("no folder is like %s: %v", only, err)
		}
		swap = nil
		for _, f := range found {
			rel, err := filepath.Rel(older, f)
			if err != nil {
				t.Fatal(err)
			}
			swap = append(swap, rel)
		}
	}
	for _, f := range swap {
		if err := os.RemoveAll(filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(dir, f), os.DirFS(filepath.Join(older, f))); err != nil {
			t.Fatal(err)
		}
	}
}
