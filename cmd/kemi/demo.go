package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/cmd/kemi/demo"
	"kemi.dev/kemi/internal/web"
)

func newDemo() *cobra.Command {
	o := demo.Options{Version: version}
	var output string
	var noStory bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Watch a simulated site lose and regain a core switch, and who is called", Args: cobra.NoArgs,
		Long: `Starts everything in one process, in a temporary directory: a simulated fleet (2 core switches, 10 access switches with
48 ports, 100 servers, 400 VMs, 20 HTTP services, each on its own loopback address), the whole pipeline polling it every
10 s, and the phones of the people on call. At 20 s a core switch goes down, and with it all that can only be reached through
it. Its one page reaches jo, who sleeps; so sun is called when the page said, and presses "I have it" on the phone. At 55 s the
switch is back, which both hear. A VM that somebody silenced and turned off calls nobody. Ctrl-C ends it.`,
		Example: `  kemi demo
  kemi demo --for 80s -o json
  kemi demo --devices 2000 --no-story`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := web.CheckListen(o.Listen, nil, false); err != nil {
				return usageError{fmt.Errorf("--listen: %w", err)}
			}
			if o.Devices < 0 || o.Devices > demo.MaxDevices || o.For < 0 {
				return usageError{fmt.Errorf("--devices takes 0 to %d, --for no negative time", demo.MaxDevices)}
			}
			o.Story, o.JSON, o.Out, o.Log = !noStory, output == "json", cmd.OutOrStdout(), cmd.ErrOrStderr()
			if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
				o.Live = true
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.Devices, "devices", 0, "scale the site to that many devices; 0 is 532")
	cmd.Flags().DurationVar(&o.For, "for", time.Duration(0), "end by itself after this time; 0 is never")
	cmd.Flags().BoolVar(&noStory, "no-story", false, "just run, nothing goes down")
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:7070", "where the console is; a free port if this is taken")
	outputFlag(cmd, &output)
	return cmd
}
