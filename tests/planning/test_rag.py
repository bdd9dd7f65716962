import dataclasses

import pytest
from tests.planning.books import D, azure

from penstock.errors import PlanError
from penstock.planning.rag import Rag, rag
from penstock.pricing.search import shipped_search_tiers

TIERS = shipped_search_tiers()


def test_embedding_bills_every_token_once_and_the_overlap_again():
    plan = rag(Rag(documents=1000, tokens_per_document=760, chunk_tokens=400, overlap=D("0.1")), azure(), TIERS)
    assert (plan.chunks, plan.embedded_tokens) == (2000, 800_000)
    assert plan.first_embedding == D("0.02")  # 0.8M tokens at $0.02


def test_incremental_updates_embed_only_what_changed():
    plan = rag(Rag(documents=10_000_000, changed_share=D("0.05"), index_builds=4), azure(), TIERS)
    assert plan.reembedding_full == plan.first_embedding * 4
    assert plan.reembedding_incremental == pytest.approx(plan.first_embedding * D("0.05"), abs=D("0.01"))


def test_replicas_follow_the_questions_and_partitions_the_size():
    small = rag(Rag(peak_queries_per_second=D(100), queries_per_replica=D(15)), azure(), TIERS)
    assert {(line.replicas, line.partitions) for line in small.services} == {(7, 1)}
    large = rag(Rag(documents=10_000_000, peak_queries_per_second=D(1)), azure(), TIERS)
    assert large.services[1].partitions == 6  # 203 GB on 35 GB each
    assert large.services[1].replicas == 2


def test_the_cheapest_tier_that_fits_is_chosen():
    assert rag(Rag(), azure(), TIERS).search_tier == "basic"
    assert rag(Rag(documents=2_000_000), azure(), TIERS).search_tier == "s1"


def test_fewer_chunks_save_their_tokens_less_the_reranking():
    plan = rag(Rag(), azure(), TIERS)
    # 300,000 questions: 15 chunks of 400 tokens fewer at $2.50 a million, $1 a thousand to rerank
    assert plan.rerank_saving == D("4500.00") - D("300.00")


def test_reranking_can_cost_more_than_it_saves():
    assert rag(Rag(model="gpt-4o-mini", top_k=6), azure(), TIERS).rerank_saving < 0


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("tier", "basic", "tier: the index does not fit on basic"),
        ("overlap", D(1), "overlap: chunks that repeat each other wholly never end"),
        ("queries_per_replica", D(0), "queries_per_replica: 0 questions a second"),
        ("batch_embedding", True, "batch_embedding: no batch price for text-embedding-3-small"),
    ],
)
def test_what_cannot_be_planned_is_named(field, value, sentence):
    inputs = dataclasses.replace(Rag(documents=5_000_000), **{field: value})
    with pytest.raises(PlanError) as error:
        rag(inputs, azure(), TIERS)
    assert str(error.value).startswith(sentence)
