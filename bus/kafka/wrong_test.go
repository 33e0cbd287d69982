package kafka

import (
	"errors"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
)

// One start names every topic that somebody made in another way than it has to be, each with what is wrong and what to do,
// changes none of them, and is content when they are gone.
func TestOneStartNamesEveryTopicThatIsWrong(t *testing.T) {
	t.Parallel()
	wrongTopics(t, fake(t, "").ListenAddrs(), false)
}

func TestIntegrationOneStartNamesEveryTopicThatIsWrongOnRealKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka")
	}
	wrongTopics(t, brokers.Kafka(t, 1).Addrs, true)
}

func wrongTopics(t *testing.T, addrs []string, real bool) {
	topics := []driver.Topic{
		{Name: "well.v1", Partitions: 2, Keep: time.Hour, MaxBytes: 16 << 20},
		{Name: "fewer.v1", Partitions: 4, Keep: time.Hour, MaxBytes: 16 << 20},
		{Name: "compacted.v1", Partitions: 2, Keep: time.Hour, MaxBytes: 16 << 20},
		{Name: "deleted.v1", Kind: driver.Latest, Partitions: 2, MaxBytes: 16 << 20},
		{Name: "unsynced.v1", Partitions: 2, Keep: time.Hour, MaxBytes: 16 << 20, Sync: true},
		{Name: "jobs.v1", Kind: driver.Work, Partitions: 2, Keep: time.Hour, MaxBytes: 16 << 20},
	}
	wrong := map[string]struct {
		partitions int
		configs    map[string]string
		said       string
	}{
		"fewer.v1":     {3, map[string]string{"cleanup.policy": "delete"}, "wanted kind log with 4 partitions, found kind log with 3 partitions (stop every Kemi"},
		"compacted.v1": {2, map[string]string{"cleanup.policy": "compact"}, "wanted cleanup.policy=delete, found cleanup.policy=compact (set it with kafka-configs.sh --alter)"},
		"deleted.v1":   {2, map[string]string{"cleanup.policy": "delete"}, "wanted cleanup.policy=compact, found cleanup.policy=delete"},
		"unsynced.v1":  {2, map[string]string{"cleanup.policy": "delete", "flush.messages": "1000"}, "wanted durability power, found flush.messages=1000"},
		"jobs.v1":      {2, map[string]string{"cleanup.policy": "delete"}, "wanted kind work with 16 partitions, found kind work with 2 partitions"},
	}
	client := &kafkago.Client{Addr: kafkago.TCP(addrs...), Timeout: 30 * time.Second}
	var made []kafkago.TopicConfig
	var names []string
	for name, w := range wrong {
		one := kafkago.TopicConfig{Topic: "kemi." + name, NumPartitions: w.partitions, ReplicationFactor: 1}
		for key, value := range w.configs {
			one.ConfigEntries = append(one.ConfigEntries, kafkago.ConfigEntry{ConfigName: key, ConfigValue: value})
		}
		made, names = append(made, one), append(names, one.Topic)
	}
	res, err := client.CreateTopics(t.Context(), &kafkago.CreateTopicsRequest{Topics: made})
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range res.Errors {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	d := dialled(t, Config{Brokers: addrs})
	if real {
		d.tuning = defaults()
	}
	before := settings(t, client, names)
	for range 2 { // Nothing came of the first.
		err := d.Ensure(t.Context(), topics)
		if !errors.Is(err, driver.ErrDiffers) || errors.Is(err, driver.ErrAway) || !strings.Contains(err.Error(), "5 of 6 are not what they have to be") {
			t.Fatalf("got %v", err)
		}
		for name, w := range wrong {
			if !strings.Contains(err.Error(), "topic "+name+": kafka's topic kemi."+name+": "+w.said) {
				t.Errorf("of %s is not said %q: %v", name, w.said, err)
			}
		}
		if strings.Contains(err.Error(), "well.v1") {
			t.Errorf("what is right is named: %v", err)
		}
	}
	if after := settings(t, client, names); !maps.Equal(before, after) {
		t.Errorf("from %v to %v", before, after)
	}
	remove(t, addrs, names...)
	eventually(t, "a start on what it makes itself", func() bool {
		err := d.Ensure(t.Context(), topics)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
}

// settings are the partitions, and what else of topics a start looks at.
func settings(t *testing.T, client *kafkago.Client, names []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	meta, err := client.Metadata(t.Context(), &kafkago.MetadataRequest{Topics: names})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range meta.Topics {
		all[m.Name] = strconv.Itoa(len(m.Partitions))
	}
	ask := &kafkago.DescribeConfigsRequest{}
	for _, name := range names {
		ask.Resources = append(ask.Resources, kafkago.DescribeConfigRequestResource{
			ResourceType: kafkago.ResourceTypeTopic, ResourceName: name, ConfigNames: []string{"cleanup.policy", "flush.messages", "retention.ms"},
		})
	}
	res, err := client.DescribeConfigs(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res.Resources {
		for _, e := range r.ConfigEntries {
			all[r.ResourceName+" "+e.ConfigName] = e.ConfigValue
		}
	}
	return all
}
