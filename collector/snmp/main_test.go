package snmp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/poller"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/simulate"
)

// TestMain plays a simulated switch in a process of its own for benchmarks, so that its work is not counted as ours.
func TestMain(m *testing.M) {
	if os.Getenv("KEMI_TEST_AGENT") != "" {
		os.Exit(agentProcess())
	}
	os.Exit(m.Run())
}

func agentProcess() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fleet, err := simulate.New(simulate.Config{
		Listen:  simulate.Listen{Prefix: netip.MustParsePrefix("127.77.0.1/32")},
		Devices: []simulate.Device{{ID: "bench", Class: simulate.Switch, Ports: 50, Addr: netip.MustParseAddrPort("127.77.0.1:0")}}, MaxMessage: 16000,
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go func() { <-fleet.Ready(); fmt.Println(fleet.Devices()[0].Addr) }()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	if err := fleet.Run(ctx); err != nil {
		return 1
	}
	return 0
}

// otherProcess starts the simulated switch and returns its address.
func otherProcess(tb testing.TB) string {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KEMI_TEST_AGENT=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line := bufio.NewScanner(out)
	if !line.Scan() {
		tb.Fatal("the simulated switch did not start")
	}
	return line.Text()
}

// newPoller makes a poller whose credential is called lab; keys are added to it, like "retries: 0".
func newPoller(tb testing.TB, keys string) *Poller {
	tb.Helper()
	if keys != "" {
		keys = ", " + keys
	}
	nodes, problems := conf.Parse("test.yaml", []byte("{community: public"+keys+"}"))
	if err := problems.Err(); err != nil {
		tb.Fatal(err)
	}
	p, problems := New(poller.Setup{Credentials: map[string]conf.Node{"lab": nodes[0]}})
	if err := problems.Err(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.Close() })
	return p
}

func job(address, profile string) *event.Job {
	return &event.Job{
		Target: "device", Check: "snmp", Kind: "snmp", Address: address, Profile: profile, Credential: "lab",
		Cause: event.CauseSchedule, Slot: time.Now(), Deadline: time.Now().Add(time.Minute),
	}
}
