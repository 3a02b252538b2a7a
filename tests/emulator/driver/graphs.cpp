// Graphs: launches that are kept.
#include "driver.h"

using namespace driver;

namespace {

struct Graph {
    std::vector<Launch> nodes;
};

Launch prepare(const NodeParams *p) {
    return prepare(p->function, p->grid, p->block[0], p->shared, p->arguments);
}

} // namespace

// NOLINTBEGIN: the names are NVIDIA's.

API int cuGraphCreate(Graph **graph, unsigned) {
    *graph = new Graph;
    return SUCCESS;
}
API int cuGraphAddKernelNode_v2(size_t *node, Graph *graph, const size_t *after, size_t count, const NodeParams *p) {
    // Each node after the one before: that is all the executor makes.
    const bool chained = graph->nodes.empty() ? count == 0 : count == 1 && *after == graph->nodes.size();
    if (!chained) return INVALID_VALUE;
    graph->nodes.push_back(prepare(p));
    *node = graph->nodes.size();
    return SUCCESS;
}
API int cuGraphInstantiateWithFlags(Graph **executable, const Graph *graph, uint64_t) {
    *executable = new Graph(*graph);
    return SUCCESS;
}
API int cuGraphExecKernelNodeSetParams_v2(Graph *graph, size_t node, const NodeParams *p) {
    if (node == 0 || node > graph->nodes.size()) return INVALID_VALUE;
    graph->nodes[node - 1] = prepare(p);
    return SUCCESS;
}
API int cuGraphLaunch(const Graph *graph, void *) {
    note('G');
    // As it is now: later changes are for later launches.
    return enqueue([copy = *graph] {
        for (const Launch &launch : copy.nodes) {
            if (run(launch) != SUCCESS) break;
        }
        return broken;
    });
}
API int cuGraphExecDestroy(const Graph *graph) {
    delete graph;
    return SUCCESS;
}
API int cuGraphDestroy(const Graph *graph) {
    delete graph;
    return SUCCESS;
}
// NOLINTEND
