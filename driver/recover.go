package driver

import (
	"context"
	"fmt"
	"path"
	"runtime/debug"

	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/volume"
)

// guard makes an error of a panic in a handler. Volumes in use are none the worse for it, so the
// process lives on. The stack is for the log; the caller gets neither it nor what was thrown.
func guard(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		thrown := recover()
		if thrown == nil {
			return
		}
		klog.FromContext(ctx).Error(nil, "panic", "panic", oneLine(redact(fmt.Sprint(thrown), req), maxMessageBytes), "stack", string(debug.Stack()))
		resp, err = nil, volume.Errorf(volume.Internal, "%s failed for a reason that nobody foresaw: the log of loam has it", path.Base(info.FullMethod))
	}()
	return handler(ctx, req)
}
