package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/internal/run"
	"kemi.dev/kemi/internal/simulate"
	"kemi.dev/kemi/internal/web"
)

func newSimulate() *cobra.Command {
	var (
		devices, ports                          int
		class, listen, script, control, commune string
		duration                                time.Duration
		seed                                    uint64
	)
	classes := make([]string, 0, 5)
	for _, c := range simulate.Classes() {
		classes = append(classes, string(c))
	}
	cmd := &cobra.Command{
		Use: "simulate", Short: "Play a fleet of SNMP agents on loopback addresses", Args: cobra.NoArgs,
		Long: `Plays many devices in one process, each on its own 127.0.0.0/8 address: SNMP v1 and v2c with the system group,
ifTable and ifXTable, HOST-RESOURCES for servers; HTTP for services. Values move plausibly. Ctrl-C ends it.

Faults come from a script and over HTTP (--control): down, slow 2s, reboot, flap 10s, counter wrap, lossy 10%,
port 3 down|up|flap 10s, garbage, truncated, wrong-id, stranger, unhealthy, clear. "flap 10s" is down for the first
half of every 10 s; "reboot 10s" is silent for 10 s; "counter wrap" puts the 32-bit counters shortly before 2^32.

  # faults.yaml
  - {at: 20s, device: switch-01, fault: down}
  - {at: 50s, device: switch-01, fault: clear}
  - {at: 60s, device: "class:switch", fault: slow 2s}`,
		Example: `  kemi simulate --devices 200 --class switch --ports 48 --listen 127.1.0.0/16:1161
  kemi poll --snmp 2c:public@127.1.0.1:1161
  curl -X POST --data 'slow 2s' http://127.0.0.1:7071/devices/switch-001/faults
  snmpbulkwalk -v2c -c public 127.1.0.1:1161 ifXTable`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := simulate.ParseListen(listen)
			if err != nil {
				return usageError{fmt.Errorf("--listen: %w", err)}
			}
			c, err := simulate.ParseClass(class)
			if err != nil {
				return usageError{fmt.Errorf("--class: %w", err)}
			}
			fleet, err := simulate.Uniform(devices, c, ports, l)
			if err != nil {
				return usageError{err}
			}
			cfg := simulate.Config{Listen: l, Devices: fleet, Community: commune, Seed: seed, Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))}
			if script != "" {
				if cfg.Script, err = simulate.LoadScript(script); err != nil {
					return err
				}
			}
			f, err := simulate.New(cfg)
			if err != nil {
				return usageError{err}
			}
			ctx := cmd.Context()
			if duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, duration)
				defer cancel()
			}
			var g run.Group
			g.Add("fleet", f.Run, f.Ready())
			g.Add("control", func(ctx context.Context) error {
				ds := f.Devices()
				fmt.Fprintf(cmd.OutOrStdout(), "%d devices from %s (%s) to %s\n", len(ds), ds[0].Addr, ds[0].ID, ds[len(ds)-1].Addr)
				if control == "" {
					<-ctx.Done()
					return nil
				}
				ln, err := web.Listen(control)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "control at http://%s/devices\n", ln.Addr())
				return web.Serve(ctx, ln, f.Handler())
			})
			return g.Run(ctx)
		},
	}
	fl := cmd.Flags()
	fl.IntVar(&devices, "devices", 10, "how many")
	fl.StringVar(&class, "class", "switch", "what they are: "+strings.Join(classes, ", "))
	fl.IntVar(&ports, "ports", 48, "interfaces of a switch")
	fl.StringVar(&listen, "listen", "127.1.0.0/16:1161", "addresses (within 127.0.0.0/8) and port")
	fl.StringVar(&script, "script", "", "faults to play, see above")
	fl.StringVar(&control, "control", "127.0.0.1:7071", "where faults are taken over HTTP; empty for nowhere")
	fl.StringVar(&commune, "community", "public", "SNMP community")
	fl.DurationVar(&duration, "for", 0, "end after this time; 0 is never")
	fl.Uint64Var(&seed, "seed", 1, "makes values and losses differ")
	_ = cmd.RegisterFlagCompletionFunc("class", cobra.FixedCompletions(classes, cobra.ShellCompDirectiveNoFileComp)) // Fails only for flags that are not there.
	return cmd
}
