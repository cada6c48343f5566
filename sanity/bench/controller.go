package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/sanity/serve"
)

// controllerVariable is set to a directory for a process that is only the controller of a cluster, so that what it needs can
// be told from what its nodes need.
const controllerVariable = "LOAM_BENCH_CONTROLLER"

// What is in that directory.
const (
	controllerSocket      = "controller.sock"
	controllerCertificate = "controller.pem"
)

// controllerProcess is what such a process does: it writes how many nodes are connected, each time that changes, and
// before that on which address it waits for them. It ends when nobody reads any more, or with the process that began it.
func controllerProcess(dir, listen string) error {
	fleet.CollectEarly()
	ctx, stop := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	defer stop()
	router, err := serve.StartRouter(ctx, serve.RouterConfig{Socket: filepath.Join(dir, controllerSocket), Listen: listen, Certificate: filepath.Join(dir, controllerCertificate)})
	if err != nil {
		return err
	}
	fmt.Println(router.Address)
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte() // which there is none of, until the end
		stop()
	}()
	for last := -1; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if now := router.Fleet.Count(); now != last {
			fmt.Println(now)
			last = now
		}
	}
	return router.Stop()
}

// controller is such a process, and a client of it.
type controller struct {
	csi.ControllerClient
	address string
	process *exec.Cmd
	began   time.Time
	said    *bufio.Scanner
	stdin   interface{ Close() error }
	conn    *grpc.ClientConn
}

func startController(ctx context.Context, dir, listen string) (*controller, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &controller{process: exec.CommandContext(ctx, self, listen)}
	c.process.Env, c.process.Stderr = append(os.Environ(), controllerVariable+"="+dir), os.Stderr
	out, err := c.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if c.stdin, err = c.process.StdinPipe(); err != nil {
		return nil, err
	}
	c.said, c.began = bufio.NewScanner(out), time.Now()
	if err := c.process.Start(); err != nil {
		return nil, err
	}
	if !c.said.Scan() {
		return nil, fmt.Errorf("the controller did not start: %w", c.process.Wait())
	}
	c.address = c.said.Text()
	if c.conn, err = grpc.NewClient("unix://"+filepath.Join(dir, controllerSocket), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, err
	}
	c.ControllerClient = csi.NewControllerClient(c.conn)
	return c, nil
}

// connected waits until so many nodes are, and returns how long that took since the process was begun.
func (c *controller) connected(nodes int) (time.Duration, error) {
	for c.said.Scan() {
		if now, err := strconv.Atoi(c.said.Text()); err == nil && now == nodes {
			return time.Since(c.began), nil
		}
	}
	return 0, fmt.Errorf("the controller ended before %d nodes were connected", nodes)
}

// kill ends the process as a machine does that loses its power.
func (c *controller) kill() {
	_ = c.conn.Close()
	_ = c.process.Process.Kill()
	_ = c.process.Wait()
}

// peak returns how much memory the process has needed at most, in bytes.
func (c *controller) peak() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc does not say how much memory the controller needs")
}

// worked returns for how long processors have been at work for the process.
func (c *controller) worked() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, in parentheses, is the second field. The 14th and 15th are in hundredths of a second (proc_pid_stat(5)).
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat cannot be read: %q", c.process.Process.Pid, text)
	}
	var hundredths int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		hundredths += n
	}
	return time.Duration(hundredths) * 10 * time.Millisecond, nil
}
