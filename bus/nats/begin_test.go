package nats

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// A user that may not do what Kemi does all the time is told so at the start, which ends by it: else the process would
// stand there and wait for what never comes.
func TestWhatTheUserMayNotDoEndsTheStart(t *testing.T) {
	t.Parallel()
	may := map[string]string{ // What is not allowed, and what is to be named.
		"$JS.API.INFO":             "$JS.API.INFO",
		"$JS.API.STREAM.INFO.*":    "$JS.API.STREAM.INFO.",
		"$JS.API.STREAM.CREATE.*":  "$JS.API.STREAM.CREATE.",
		"$JS.API.STREAM.MSG.GET.*": "$JS.API.STREAM.MSG.GET.kemi_",
		"$JS.API.CONSUMER.>":       "$JS.API.CONSUMER.CREATE.kemi_",
		"$JS.API.DIRECT.GET.>":     "$JS.API.DIRECT.GET.KV_kemi_",
		"$KV.kemi_groups.>":        "$KV.kemi_groups.>",
		"$KV.kemi_members.>":       "$KV.kemi_members.>",
		"kemi.>":                   "kemi.state.v1.>",
	}
	users := []*server.User{{Username: "root"}}
	for denied := range may {
		users = append(users, mayNot(denied, []string{denied}, nil))
	}
	s := guarded(t, users...)
	// Another made what is to be there, but for one topic.
	root := dialled(t, as("root"), s)
	if err := bus.New(root, bus.Settings{}, obs.Scope{}).Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := root.links[process].js.DeleteStream(t.Context(), "kemi_dead_v1"); err != nil {
		t.Fatal(err)
	}
	if err := root.links[process].js.DeleteKeyValue(t.Context(), "kemi_members"); err != nil {
		t.Fatal(err)
	}
	// In this order, for whoever may make a stream makes it.
	open := func(denied string) error {
		d := dialled(t, as(denied), s)
		d.tuning = defaults()
		defer d.Close()
		return bus.New(d, bus.Settings{Installation: "here"}, obs.Scope{}).Open(t.Context())
	}
	begun := time.Now()
	soon(t, open("$JS.API.STREAM.CREATE.*"), begun, may["$JS.API.STREAM.CREATE.*"])
	begun = time.Now()
	soon(t, open("$JS.API.INFO"), begun, may["$JS.API.INFO"]) // Who makes a bucket asks for it.
	for denied, named := range may {
		if denied == "$JS.API.STREAM.CREATE.*" || denied == "$JS.API.INFO" {
			continue
		}
		begun := time.Now()
		err := open(denied)
		soon(t, err, begun, named, "allow it to publish to")
		if errors.Is(err, driver.ErrAway) {
			t.Errorf("%s: the broker is said to be away: %v", denied, err)
		}
	}
}

// An account without room for the buckets is one that cannot be used.
func TestAnAccountWithoutRoomForTheBucketsEndsTheStart(t *testing.T) {
	t.Parallel()
	s := served(t, &server.Options{JetStream: true})
	limits := server.JetStreamAccountLimits{MaxMemory: -1, MaxStore: 32 << 20, MaxStreams: -1, MaxConsumers: -1}
	if err := s.GlobalAccount().UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": limits}); err != nil {
		t.Fatal(err)
	}
	d := dialled(t, Config{}, s)
	begun := time.Now()
	err := d.Ensure(t.Context(), []driver.Topic{topicThings})
	soon(t, err, begun, "kemi_groups", "raise the limits of JetStream")
	if errors.Is(err, driver.ErrAway) {
		t.Errorf("the broker is said to be away: %v", err)
	}
}

// Processes that start at the same time make the same streams, and the server counts the room of one for each of them.
func TestProcessesThatStartAtOnceDoNotTakeEachOthersRoom(t *testing.T) {
	t.Parallel()
	s := served(t, &server.Options{JetStream: true})
	big := topicThings
	big.MaxBytes = maxStore * 6 / 10
	for round := range 5 {
		big.Name = fmt.Sprintf("big%d.v1", round)
		var all sync.WaitGroup
		var last *Driver
		for range 3 {
			d := dialled(t, Config{}, s)
			last = d
			all.Go(func() {
				if err := d.Ensure(t.Context(), []driver.Topic{big}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		err := last.links[process].js.DeleteStream(t.Context(), last.named(big, nil, 0).stream)
		if err != nil {
			t.Fatal(err)
		}
	}
}
