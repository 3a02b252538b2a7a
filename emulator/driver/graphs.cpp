// Graphs: launches that are kept, one after the other, and conditional nodes among them.
//
// Of conditional nodes, what NVIDIA's documentation of the driver's interface allows and no more: a handle belongs to
// one graph and to one node of it, and none may be without; a body is filled with kernels; nodes in it cannot be told of
// other arguments; a value that no kernel of this launch has set is undefined, and so is one that two calls
// may set at once.
#include "driver.h"

#include <algorithm>
#include <fstream>
#include <memory>

using namespace driver;

namespace {

struct Graph;

struct Node {
    /// Of a kernel.
    Launch launch;
    /// Of a condition: both or neither.
    uint64_t handle = 0;
    std::unique_ptr<Graph> body;
    /// Where the caller finds the body.
    Graph *body_out = nullptr;
};

struct Handle {
    uint64_t number;
    bool used;
};

struct Graph {
    std::vector<std::unique_ptr<Node>> nodes;
    std::vector<Handle> handles;
    bool is_body = false;
};

/// A node that can be launched.
struct Step {
    /// For comparison only: it may be gone.
    const Node *node;
    Launch launch;
    uint64_t handle;
    std::vector<Step> body;
};

using Executable = std::vector<Step>;

/// CUgraphNodeParams of CUDA 12, for a conditional node.
struct ConditionalParams {
    int type, reserved[3];
    uint64_t handle;
    int condition;
    unsigned size;
    Graph **bodies;
    void *context;
    char unused[200];
    long long reserved2;
};
static_assert(sizeof(ConditionalParams) == 256);

Launch prepare(const NodeParams *p) {
    return prepare(p->function, p->grid, p->block[0], p->shared, p->arguments);
}

/// Each node after the one before: that is all the executor makes.
bool chained(const Graph *graph, Node *const *after, size_t count) {
    return graph->nodes.empty() ? count == 0 : count == 1 && *after == graph->nodes.back().get();
}

bool complete(const Graph *graph) {
    return std::all_of(graph->handles.begin(), graph->handles.end(), [](const Handle &h) { return h.used; });
}

Executable instantiate(const Graph *graph) {
    Executable steps;
    for (const auto &node : graph->nodes) {
        auto body = node->body ? instantiate(node->body.get()) : Executable();
        steps.push_back({node.get(), node->launch, node->handle, std::move(body)});
    }
    return steps;
}

/// What the kernels of one launch of a graph have set.
using Values = std::map<uint64_t, uint32_t>;

/// Notes each kernel's name.
Status execute(const Executable &steps, Values &values, std::string &names) {
    const std::string pose = setting("EMULATOR_CONDITIONAL");
    for (const Step &step : steps) {
        if (broken != SUCCESS) break;
        if (step.handle == 0) {
            names += step.launch.function->name + " ";
            run(step.launch, &values);
            continue;
        }
        const auto value = values.find(step.handle);
        if (value == values.end()) return fault("a condition that nobody has set");
        if (pose == "always" || (value->second != 0 && pose != "never")) execute(step.body, values, names);
    }
    return broken;
}

} // namespace

// NOLINTBEGIN: the names are NVIDIA's.

API int cuGraphCreate(Graph **graph, unsigned flags) {
    *graph = new Graph;
    return flags == 0 ? SUCCESS : INVALID_VALUE;
}
API int cuGraphAddKernelNode_v2(Node **node, Graph *graph, Node *const *after, size_t count, const NodeParams *p) {
    if (!chained(graph, after, count)) return INVALID_VALUE;
    graph->nodes.push_back(std::make_unique<Node>());
    *node = graph->nodes.back().get();
    (*node)->launch = prepare(p);
    return SUCCESS;
}
API int cuGraphConditionalHandleCreate(uint64_t *handle, Graph *graph, void *context, unsigned, unsigned flags) {
    if (setting("EMULATOR_CONDITIONAL") == "absent") return NOT_SUPPORTED;
    // Defaults (flag 1) are nothing that the executor asks for.
    if (graph->is_body || context != &entered || flags != 0) return INVALID_VALUE;
    static uint64_t handles = 0xabcd0000;
    graph->handles.push_back({*handle = ++handles, false});
    return SUCCESS;
}
API int cuGraphAddNode_v2(Node **node, Graph *graph, Node *const *after, const void *edges, size_t count,
                          ConditionalParams *p) {
    const int conditional = 13, when = 0;
    static const char zeros[200] = {};
    const bool clean = p->reserved[0] == 0 && p->reserved[1] == 0 && p->reserved[2] == 0 && p->reserved2 == 0 &&
                       memcmp(p->unused, zeros, sizeof zeros) == 0;
    if (p->type != conditional || p->condition != when || p->size != 1 || edges != nullptr || !clean) {
        return INVALID_VALUE;
    }
    const auto handle = std::find_if(graph->handles.begin(), graph->handles.end(),
                                     [=](const Handle &h) { return h.number == p->handle && !h.used; });
    if (handle == graph->handles.end() || p->context != &entered || !chained(graph, after, count)) {
        return INVALID_VALUE;
    }
    handle->used = true;
    graph->nodes.push_back(std::make_unique<Node>());
    *node = graph->nodes.back().get();
    (*node)->handle = p->handle;
    (*node)->body = std::make_unique<Graph>();
    (*node)->body->is_body = true;
    (*node)->body_out = (*node)->body.get();
    p->bodies = &(*node)->body_out;
    return SUCCESS;
}
API int cuGraphInstantiateWithFlags(Executable **executable, const Graph *graph, uint64_t flags) {
    if (!complete(graph) || graph->is_body || flags != 0) return INVALID_VALUE;
    *executable = new Executable(instantiate(graph));
    return SUCCESS;
}
API int cuGraphExecKernelNodeSetParams_v2(Executable *executable, const Node *node, const NodeParams *p) {
    for (Step &step : *executable) {
        if (step.node != node || step.handle != 0) continue;
        step.launch = prepare(p);
        return SUCCESS;
    }
    return INVALID_VALUE;
}
API int cuGraphLaunch(const Executable *executable, void *) {
    note('G');
    // As it is now: later changes are for later launches.
    return enqueue([copy = *executable] {
        Values values;
        std::string names;
        const Status status = execute(copy, values, names);
        const std::string path = setting("EMULATOR_EXECUTED");
        if (!path.empty()) std::ofstream(path, std::ios::app) << names << "\n";
        return status;
    });
}
API int cuGraphExecDestroy(const Executable *executable) {
    delete executable;
    return SUCCESS;
}
API int cuGraphDestroy(const Graph *graph) {
    // A body is its node's.
    if (graph->is_body) return INVALID_VALUE;
    delete graph;
    return SUCCESS;
}

// NOLINTEND
