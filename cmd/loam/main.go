// Command loam serves disks inside this machine as CSI volumes. Each subcommand is a file.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := loam().ExecuteContext(ctx)
	klog.Flush()
	if err != nil {
		fmt.Fprintln(os.Stderr, "loam:", err)
		os.Exit(1)
	}
}

// loam returns the command with all its subcommands.
func loam() *cobra.Command {
	c := &cobra.Command{
		Use:   "loam",
		Short: "CSI driver for disks inside the node",
		Long: `loam gives an orchestrator volumes on the disks of this machine: created, attached,
formatted, mounted, grown, snapshotted and cloned by CSI calls on a unix socket.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	logFlags := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(logFlags)
	for _, name := range []string{"v", "vmodule"} {
		c.PersistentFlags().AddGoFlag(logFlags.Lookup(name))
	}
	c.AddCommand(serveCommand(), nodeCommand(), controllerCommand(), orphansCommand(), tryCommand(), poolsCommand(), volumesCommand(), snapshotsCommand(),
		checkOptionsCommand(), versionCommand())
	return c
}
