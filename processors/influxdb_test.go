package processors_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/run"
	"kemi.dev/kemi/processors"
)

// shared finds a file of the servers that lie beside the repository, or skips; where everything must be there, it fails.
func shared(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("%s is for make integration", name)
	}
	dir := os.Getenv("KEMI_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(dir, "servers", name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("KEMI_CI") == "1" {
		t.Fatalf("%s is missing", path)
	}
	t.Skipf("%s is missing (set KEMI_SHARED to where it is)", path)
	return ""
}

// influx is a real InfluxDB that can be stopped and started again on its data.
type influx struct {
	t       *testing.T
	program string
	dir     string
	address string
	cmd     *exec.Cmd
}

const influxToken = "a-token-for-the-test"

func newInflux(t *testing.T) *influx {
	t.Helper()
	packed := shared(t, "influxd-2.9.1.xz")
	s := &influx{t: t, dir: t.TempDir()}
	s.program = filepath.Join(s.dir, "influxd")
	out, err := os.OpenFile(s.program, os.O_CREATE|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	unpack := exec.Command("xz", "-dc", packed)
	unpack.Stdout = out
	if err := unpack.Run(); err != nil {
		t.Fatalf("unpack %s: %v", packed, err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	_ = l.Close()
	s.start()
	t.Cleanup(s.stop)
	s.call("/api/v2/setup", "application/json", `{"username":"kemi","password":"kemi-kemi","org":"kemi","bucket":"kemi","token":"`+influxToken+`"}`)
	return s
}

func (s *influx) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.program, "run", "--bolt-path", filepath.Join(s.dir, "b"), "--engine-path", filepath.Join(s.dir, "e"),
		"--http-bind-address", s.address, "--reporting-disabled", "--log-level", "error")
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "InfluxDB is ready", func() bool {
		res, err := http.Get("http://" + s.address + "/health")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func (s *influx) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *influx) call(path, kind, body string) []byte {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.address+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Token "+influxToken)
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Accept", "application/csv")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		s.t.Fatalf("%s: %d %v %s", path, res.StatusCode, err, answer)
	}
	return answer
}

// rows runs a Flux query and returns its rows by column name.
func (s *influx) rows(flux string) []map[string]string {
	s.t.Helper()
	answer := s.call("/api/v2/query?org=kemi", "application/vnd.flux", flux)
	r := csv.NewReader(bytes.NewReader(answer))
	r.FieldsPerRecord = -1
	all, err := r.ReadAll()
	if err != nil {
		s.t.Fatal(err)
	}
	var rows []map[string]string
	var head []string
	for _, record := range all {
		if len(record) > 1 && record[1] == "result" {
			head = record
			continue
		}
		if len(record) < 2 || head == nil {
			continue
		}
		row := map[string]string{}
		for i, name := range head {
			row[name] = record[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func TestIntegrationInfluxDBHoldsWhatWasReadAlsoAfterItWasDown(t *testing.T) {
	db := newInflux(t)
	reg := obs.Scope{}
	b := bus.New(mem.New(), bus.Settings{}, reg)
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "influx.token"), []byte(influxToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	room, problems := processors.New(processors.Options{
		Bus: b, DataDir: dir, Scope: reg,
		Series: nodes(t, filepath.Join(dir, "kemi.yaml"), "- embedded: {}\n- influxdb: {url: 'http://"+db.address+"', org: kemi, bucket: kemi, token_file: influx.token}\n"),
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() {
		var g run.Group
		g.Add("store", room.RunStore)
		g.Add("shared", room.Run)
		ran <- g.Run(ctx)
	}()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()

	begin := time.Now().Add(-time.Minute).Truncate(time.Second)
	publish := func(i int) {
		at := begin.Add(time.Duration(i) * time.Second)
		err := b.Publish(t.Context(), &event.Reading{
			JobID: fmt.Sprint("job-", i), Target: "core 1,a=b", Check: "snmp", Status: event.StatusOK, Slot: at, Started: at, Duration: 125 * time.Millisecond,
			Labels: event.LabelsOf(map[string]string{"target": "core 1,a=b", "class": "switch"}),
			Tables: []event.Table{{
				Name: "interfaces", Rows: 2, Index: []event.IndexColumn{{Name: "ifName", Values: []string{"Gi1/0/1", `q"x`}}},
				Columns: []event.Column{
					{Name: "ifHCInOctets", Kind: event.Counter, Counters: []uint64{uint64(1000 + i), uint64(5_000_000_000 + i)}},
					{Name: "ifAlias", Kind: event.Text, Texts: []string{"to core", ""}},
				},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		return len(db.rows(`from(bucket:"kemi") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "kemi_poll" and r._field == "up")`))
	}
	for i := range 5 {
		publish(i)
	}
	eventually(t, "five polls are in InfluxDB", func() bool { return count() == 5 })

	db.stop()
	for i := 5; i < 20; i++ {
		publish(i)
	}
	eventually(t, "the embedded store has all twenty while InfluxDB is down", func() bool {
		got, err := room.Store().Query(t.Context(), `sum(count_over_time(up[1h]))`, time.Now())
		return err == nil && len(got) == 1 && got[0].Points[0].V == 20
	})
	db.start()
	eventually(t, "InfluxDB has caught up", func() bool { return count() == 20 })

	rows := db.rows(`from(bucket:"kemi") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "interfaces" and r._field == "ifHCInOctets" and r.ifName == "q\"x")`)
	if len(rows) != 20 {
		t.Fatalf("%d values of one interface, want 20", len(rows))
	}
	for i, row := range rows {
		at, err := time.Parse(time.RFC3339Nano, row["_time"])
		if want := begin.Add(time.Duration(i) * time.Second); err != nil || !at.Equal(want) {
			t.Errorf("value %d is of %s, want %s", i, row["_time"], want)
		}
		var v float64
		if err := json.Unmarshal([]byte(row["_value"]), &v); err != nil || v != float64(5_000_000_000+i) {
			t.Errorf("value %d is %s", i, row["_value"])
		}
		if row["target"] != "core 1,a=b" || row["class"] != "switch" {
			t.Errorf("value %d has the tags %v", i, row)
		}
	}
	if got := db.rows(`from(bucket:"kemi") |> range(start: -1h) |> filter(fn: (r) => r._field == "ifAlias" and r._value == "to core")`); len(got) != 20 {
		t.Errorf("%d texts, want 20", len(got))
	}
}

func nodes(t *testing.T, file, text string) []conf.Node {
	t.Helper()
	docs, problems := conf.Parse(file, []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return docs[0].Items()
}

// eventually polls until ok, for twenty seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
