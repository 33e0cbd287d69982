package kafka

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

func TestMistakesInTheConfigurationAreFoundAndSayWhatToDo(t *testing.T) {
	good := []string{"kafka-1:9092"}
	for name, c := range map[string]struct {
		config Config
		want   string
	}{
		"no broker":          {Config{}, "no broker is named"},
		"a scheme":           {Config{Brokers: []string{"kafka://kafka-1:9092"}}, "without a scheme"},
		"no port":            {Config{Brokers: []string{"kafka-1"}}, "is not host:port"},
		"prefix":             {Config{Brokers: good, Prefix: "a.b"}, `the prefix "a.b"`},
		"replicas":           {Config{Brokers: good, Replicas: -1}, "-1 replicas"},
		"in sync":            {Config{Brokers: good, Replicas: 2, MinInSync: 3}, "would refuse every record"},
		"half a certificate": {Config{Brokers: good, TLS: &certs.Client{CertFile: "x"}}, "give key_file too"},
		"no such file":       {Config{Brokers: good, TLS: &certs.Client{CAFile: "/nowhere/ca.pem"}}, "/nowhere/ca.pem"},
		"mechanism":          {Config{Brokers: good, SASL: SASL{Mechanism: "gssapi", User: "u", Password: conf.NewSecret("p")}}, "use plain, scram-sha-256, scram-sha-512"},
		"no mechanism":       {Config{Brokers: good, SASL: SASL{User: "u"}}, "use plain"},
		"no user":            {Config{Brokers: good, SASL: SASL{Mechanism: "plain", Password: conf.NewSecret("p")}}, "the user is missing"},
		"no password":        {Config{Brokers: good, SASL: SASL{Mechanism: "plain", User: "u"}}, "password_file"},
	} {
		if _, err := New(c.config, "", obs.Scope{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := New(Config{Brokers: good}, "", obs.Scope{}); err != nil {
		t.Error(err)
	}
}

func TestTopicsAreKeptAsTheyShould(t *testing.T) {
	d := &Driver{config: Config{Prefix: "kemi"}}
	for name, c := range map[string]struct {
		topic driver.Topic
		want  map[string]string
	}{
		"log":            {driver.Topic{Partitions: 4, Keep: time.Hour, MaxBytes: 4 << 30}, map[string]string{"cleanup.policy": "delete", "retention.ms": "3600000", "retention.bytes": "-1", "segment.bytes": "134217728", "segment.ms": "450000", "flush.messages": ""}},
		"log that drops": {driver.Topic{Partitions: 4, MaxBytes: 64 << 20, DropOldest: true, Sync: true}, map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "16777216", "segment.bytes": "2097152", "flush.messages": "1"}},
		"latest":         {driver.Topic{Kind: driver.Latest, Partitions: 4, MaxBytes: 1 << 30}, map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": ""}},
		"latest, a time": {driver.Topic{Kind: driver.Latest, Partitions: 4, Keep: 90 * 24 * time.Hour, History: 16}, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "7776000000", "min.compaction.lag.ms": "604800000"}},
		"latest, all":    {driver.Topic{Kind: driver.Latest, Partitions: 4, Keep: time.Hour}, map[string]string{"min.compaction.lag.ms": "3600000"}},
	} {
		got := topicConfigs(d.named(c.topic))
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("%s: %s=%s, want %s", name, key, got[key], want)
			}
		}
	}
}

func TestDifferencesThatBreakTheContractAreNamedAndOthersListed(t *testing.T) {
	d := &Driver{config: Config{Prefix: "kemi"}}
	log := driver.Topic{Name: "t", Partitions: 4, Keep: time.Hour}
	synced, work := log, driver.Topic{Name: "t", Kind: driver.Work, Partitions: 2, Keep: time.Hour}
	synced.Sync = true
	latest := driver.Topic{Name: "t", Kind: driver.Latest, Partitions: 4}
	change := func(t driver.Topic, key, value string) kept {
		k := kept{partitions: d.named(t).parts, configs: topicConfigs(d.named(t))}
		k.configs[key] = value
		return k
	}
	for name, c := range map[string]struct {
		want  driver.Topic
		entry *driver.Topic
		have  kept
		err   string
		list  string
	}{
		"the same":            {log, &log, change(log, "x", "y"), "", ""},
		"made by another":     {log, nil, change(log, "x", "y"), "", ""},
		"partitions":          {log, nil, kept{partitions: 3, configs: topicConfigs(d.named(log))}, "wanted kind log with 4 partitions, found kind log with 3", ""},
		"partitions of work":  {work, &driver.Topic{Name: "t", Kind: driver.Work, Partitions: 3}, change(work, "x", "y"), "with 2 partitions, found kind work with 3", ""},
		"work made by hand":   {work, nil, kept{partitions: 2, configs: topicConfigs(d.named(work))}, "wanted kind work with 16 partitions, found kind work with 2", ""},
		"work of before":      {work, &work, kept{partitions: 8, configs: topicConfigs(d.named(work))}, "wanted kind work with 16 partitions, found kind work with 8", ""},
		"several at once":     {synced, nil, kept{partitions: 3, configs: map[string]string{"cleanup.policy": "compact", "flush.messages": "5", "retention.ms": "1000"}}, "wanted kind log with 4 partitions, found kind log with 3 .*cleanup.policy=compact.*flush.messages=5.*retention.ms=3600000", ""},
		"kind":                {driver.Topic{Name: "t", Kind: driver.Work, Partitions: 16, Keep: time.Hour}, &driver.Topic{Name: "t", Partitions: 16}, kept{partitions: 16, configs: topicConfigs(d.named(work))}, "wanted kind work with 16 partitions, found kind log", ""},
		"policy of a log":     {log, nil, change(log, "cleanup.policy", "compact"), "wanted cleanup.policy=delete, found cleanup.policy=compact", ""},
		"policy of a latest":  {latest, nil, change(latest, "cleanup.policy", "compact, delete"), "wanted cleanup.policy=compact", ""},
		"not on the disk":     {synced, nil, change(synced, "flush.messages", "9223372036854775807"), "durability process", ""},
		"more on the disk":    {log, nil, change(log, "flush.messages", "1"), "", ""},
		"small records":       {log, nil, change(log, "max.message.bytes", "1000"), "", "max.message.bytes=1048588"},
		"large records":       {log, nil, change(log, "max.message.bytes", "9000000"), "", ""},
		"another time":        {log, nil, change(log, "retention.ms", "1000"), "", "retention.ms=3600000"},
		"order of the policy": {driver.Topic{Name: "t", Kind: driver.Latest, Keep: time.Hour, Partitions: 4}, nil, change(driver.Topic{Name: "t", Kind: driver.Latest, Keep: time.Hour, Partitions: 4}, "cleanup.policy", "delete,compact"), "", ""},
	} {
		t1 := d.named(c.want)
		list, err := reconcile(t1, c.entry, c.have, topicConfigs(t1))
		if (err == nil) != (c.err == "") || err != nil && (!regexp.MustCompile(c.err).MatchString(err.Error()) || !strings.Contains(err.Error(), "kemi.t")) || strings.Join(list, ",") != c.list {
			t.Errorf("%s: %q, %v; want %q, %q", name, list, err, c.list, c.err)
		}
	}
}

func TestWhatTheRegistrySaysComesBack(t *testing.T) {
	want := driver.Topic{Name: "a.v1", Kind: driver.Latest, Partitions: 3, Keep: time.Hour, History: 16, MaxBytes: 1 << 30, DropOldest: true, Bulk: true, Sync: true}
	data, err := writeEntry(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readEntry(want.Name, data); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "null", "{}", `{"kind":"stack","partitions":1}`, `{"kind":"log"}`} {
		if got, err := readEntry("a", []byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestACensusKnowsWhatStays(t *testing.T) {
	c := &census{sizes: map[string]int64{}}
	r := func(key string, size int) driver.Record {
		return driver.Record{Key: key, Value: make([]byte, size)}
	}
	for _, x := range []driver.Record{r("a", 100), r("b", 100), r("a", 500), {Key: "b"}} {
		c.note(&x)
	}
	if want := int64(521); c.live != want {
		t.Fatalf("%d bytes stay, want %d", c.live, want)
	}
	for name, x := range map[string]struct {
		records []driver.Record
		limit   int64
		want    bool
	}{
		"room":                {[]driver.Record{r("c", 100)}, 1000, true},
		"no room":             {[]driver.Record{r("c", 500)}, 1000, false},
		"as large":            {[]driver.Record{r("a", 500)}, 100, true},
		"a little larger":     {[]driver.Record{r("a", 1500)}, 100, true},
		"much larger":         {[]driver.Record{r("a", 1600)}, 100, false},
		"in the reserve":      {[]driver.Record{r("a", 1600)}, 1500, true},
		"beyond the reserve":  {[]driver.Record{r("a", 1600)}, 1400, false},
		"one that is new":     {[]driver.Record{r("a", 500), r("c", 10)}, 500, false},
		"a removal":           {[]driver.Record{{Key: "a"}}, 0, true},
		"what was just given": {[]driver.Record{r("a", 100), r("a", 1500)}, 100, false},
		"smaller and smaller": {[]driver.Record{r("a", 400), r("a", 300)}, 100, true},
	} {
		if got := c.admits(x.records, x.limit); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
