package nats

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/obs"
)

// What differs and can be lived with is said with the command that changes it, and nothing is changed.
func TestDifferencesAreReportedAndLeftAlone(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	topic := driver.Topic{Name: "alerts.v1", Kind: driver.Latest, Partitions: 2, Keep: time.Hour, History: 16, MaxBytes: 1 << 20}
	d := dialled(t, Config{}, s)
	if err := d.Ensure(t.Context(), []driver.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	js := d.links[process].js
	stream, err := js.Stream(t.Context(), "kemi_alerts_v1")
	if err != nil {
		t.Fatal(err)
	}
	other := stream.CachedInfo().Config
	other.MaxBytes, other.MaxAge, other.MaxMsgsPerSubject, other.Discard, other.MaxMsgs = 2<<20, 2*time.Hour, -1, jetstream.DiscardOld, 1000
	other.AllowAtomicPublish, other.Subjects, other.Duplicates = false, []string{"kemi.alerts.v1.*.*"}, time.Minute
	if _, err := js.UpdateStream(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	d.scope = obs.New(slog.New(slog.NewTextHandler(&text, nil)), nil)
	if err := d.Ensure(t.Context(), []driver.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{
		"--max-bytes=1048576", "--max-age=1h0m0s", "--max-msgs-per-subject=16", "--discard=new", "--max-msgs=-1", "--allow-batch", "--dupe-window=2m0s",
		"--subjects='kemi.alerts.v1.*.*' --subjects='kemi.alerts.v1.=fence.*.*.*'",
	} {
		if !strings.Contains(text.String(), `change="nats stream edit kemi_alerts_v1 `+change+`"`) {
			t.Errorf("%s is not said in\n%s", change, text.String())
		}
	}
	if n := strings.Count(text.String(), "level=WARN"); n != 8 {
		t.Errorf("got %d warnings:\n%s", n, text.String())
	}
	if stream, err = js.Stream(t.Context(), "kemi_alerts_v1"); err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config; got.MaxBytes != other.MaxBytes || got.MaxMsgsPerSubject != other.MaxMsgsPerSubject || got.Discard != other.Discard || len(got.Subjects) != 1 {
		t.Errorf("it was changed to %+v", got)
	}
	// It works as it is.
	publish(t, d, topic.Name, "k", "v")
	follow(t, d, driver.Subscription{Topic: topic.Name}).value("v")
}

// An embedded server is reached by nobody else, so its command is another.
func TestTheCommandForAnEmbeddedServerNamesItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := embedded(t, dir)
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "a.v1", Partitions: 1, MaxBytes: 1 << 20, Sync: true}}); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	d.scope = obs.New(slog.New(slog.NewTextHandler(&text, nil)), nil)
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "a.v1", Partitions: 1, MaxBytes: 2 << 20, Sync: true}}); err != nil {
		t.Fatal(err)
	}
	if want := "nats-server -js -sd " + dir + "/bus/power meanwhile, and nats stream edit kemi_a_v1 --max-bytes=2097152"; !strings.Contains(text.String(), want) {
		t.Errorf("got %s, want %s", text.String(), want)
	}
}

// What breaks the contract is refused, with what was wanted and what is there.
func TestWhatBreaksTheContractIsRefused(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	d := dialled(t, Config{}, s)
	if err := d.Ensure(t.Context(), []driver.Topic{{Name: "a.v1", Partitions: 2, MaxBytes: 1 << 20}}); err != nil {
		t.Fatal(err)
	}
	js := d.links[process].js
	meta := func(topic string) map[string]string {
		return map[string]string{metaTopic: topic, metaKind: "log", metaPartitions: "1", metaSync: "false"}
	}
	two := meta("moved.v1")
	two[metaPartitions] = "2"
	for _, c := range []jetstream.StreamConfig{
		{Name: "kemi_strange_v1", Subjects: []string{"strange.>"}},
		{Name: "ORDERS", Subjects: []string{"kemi.taken.>"}},
		{Name: "kemi_moved_v1", Subjects: []string{"elsewhere.*.*"}, Metadata: two},
		{Name: "kemi_memory_v1", Subjects: []string{"kemi.memory.v1.*.*"}, Storage: jetstream.MemoryStorage, Metadata: meta("memory.v1")},
		{Name: "kemi_queue_v1", Subjects: []string{"kemi.queue.v1.*.*"}, Retention: jetstream.WorkQueuePolicy, Metadata: meta("queue.v1")},
		{Name: "kemi_mute_v1", Subjects: []string{"kemi.mute.v1.*.*"}, NoAck: true, Metadata: meta("mute.v1")},
		{Name: "kemi_like_this_v1", Subjects: []string{"other"}, Metadata: meta("like_this.v1")},
	} {
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		topic driver.Topic
		want  []string
	}{
		{driver.Topic{Name: "a.v1", Partitions: 3}, []string{"kemi_a_v1", "wanted kind log with 3 partitions", "found kind log with 2 partitions"}},
		{driver.Topic{Name: "a.v1", Partitions: 2, Kind: driver.Latest}, []string{"wanted kind latest", "found kind log"}},
		{driver.Topic{Name: "a.v1", Partitions: 2, Sync: true}, []string{"kemi_a_v1 has durability process and is configured with power", "give its topic durability process again", "nats stream edit kemi_a_v1 --metadata=kemi-topic=a.v1 --metadata=kemi-kind=log --metadata=kemi-partitions=2 --metadata=kemi-sync=true"}},
		{driver.Topic{Name: "strange.v1", Partitions: 1}, []string{"kemi_strange_v1", "is not Kemi's", "strange.>", "another prefix"}},
		{driver.Topic{Name: "taken.v1", Partitions: 1}, []string{"stream ORDERS", "takes kemi.taken.v1.*.* already", "another prefix"}},
		{driver.Topic{Name: "moved.v1", Partitions: 2}, []string{"wanted subjects kemi.moved.v1.p0.* kemi.moved.v1.p1.* kemi.moved.v1.=fence.*.*.*, found elsewhere.*.*: configure the stream"}},
		{driver.Topic{Name: "memory.v1", Partitions: 1}, []string{"wanted file storage, found memory"}},
		{driver.Topic{Name: "queue.v1", Partitions: 1}, []string{"wanted retention by limits, found workqueue"}},
		{driver.Topic{Name: "mute.v1", Partitions: 1}, []string{"no_ack"}},
		{driver.Topic{Name: "like.this.v1", Partitions: 1}, []string{"holds the topic like_this.v1, not like.this.v1"}},
	} {
		wants(t, d.Ensure(t.Context(), []driver.Topic{c.topic}), c.want...)
	}
}

// Two installations on one server share nothing when their prefixes differ.
func TestTwoPrefixesOnOneServerShareNothing(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	ds := []*Driver{dialled(t, Config{}, s), dialled(t, Config{Prefix: "kemi-2"}, s)}
	for i, d := range ds {
		things := topicThings
		things.Partitions += i // Not even that need be the same.
		if err := d.Ensure(t.Context(), []driver.Topic{things, {Name: "work.v1", Kind: driver.Work, Partitions: 1, MaxBytes: 1 << 20}}); err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{things.Name, "work.v1"} {
			publish(t, d, topic, "k", d.config.Prefix)
		}
	}
	for _, d := range ds {
		for _, sub := range []driver.Subscription{{Topic: topicThings.Name}, {Topic: topicThings.Name, Group: "g"}, {Topic: "work.v1", Group: "g"}} {
			f := follow(t, d, sub)
			f.value(d.config.Prefix)
			if len(f.values) != 1 {
				t.Errorf("%s reads %q", d.config.Prefix, f.values)
			}
		}
		info, err := d.Inspect(t.Context(), topicThings.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range info.Groups {
			for _, p := range g.Partitions {
				if p.Owner == "" || !strings.HasPrefix(p.Owner, d.name) {
					t.Errorf("%s sees %+v", d.config.Prefix, p)
				}
			}
		}
	}
}

// So is a bucket of leases.
func TestADifferentBucketIsReportedAndLeftAlone(t *testing.T) {
	t.Parallel()
	s := external(t, t.TempDir(), server.RANDOM_PORT)
	first := dialled(t, Config{}, s)
	if err := first.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
		t.Fatal(err)
	}
	if err := first.links[process].js.DeleteKeyValue(t.Context(), "kemi_groups"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.links[process].js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "kemi_groups", MaxBytes: 1 << 20, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	d := dialled(t, Config{}, s)
	var text strings.Builder
	d.scope = obs.New(slog.New(slog.NewTextHandler(&text, nil)), nil)
	f, err := d.Subscribe(t.Context(), driver.Subscription{Topic: topicThings.Name, Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	d.Close()
	for _, want := range []string{"nats stream edit KV_kemi_groups --max-bytes=67108864", "nats stream edit KV_kemi_groups --max-age=0s"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is not said in\n%s", want, text.String())
		}
	}
	if n := strings.Count(text.String(), "differs"); n != 2 {
		t.Errorf("got %d differences:\n%s", n, text.String())
	}
}

func TestSubjectsCoverSubjects(t *testing.T) {
	for _, c := range []struct {
		want, have string
		taken      bool
	}{
		{"a.b.*", "a.b.*", true},
		{"a.b.*", "a.*.*", true},
		{"a.b.*", "a.>", true},
		{"a.b.*", ">", true},
		{"a.*.*", "a.b.*", false},
		{"a.>", "a.*", false},
		{"a.b", "a.b.>", false},
		{"a.b.c", "a.b", false},
		{"a.b", "a.b.c", false},
		{"a.b", "x a.b", true},
		{"a.b", "", false},
	} {
		if got := taken(c.want, strings.Fields(c.have)); got != c.taken {
			t.Errorf("%s in %s: got %t", c.want, c.have, got)
		}
	}
}
